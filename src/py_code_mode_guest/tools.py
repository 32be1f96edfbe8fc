"""``tools``: every tool, and every callable below one, by its name.

A name costs nothing before it is called: whether there is such a tool, and what it takes, the host
tells at the call, or when help is asked for.
"""

from __future__ import annotations

import difflib
from typing import Any, Final

from py_code_mode_guest import errors
from py_code_mode_guest.channel import Channel
from py_code_mode_guest.namespaces import Namespace, Operation
from py_code_mode_guest.records import Record
from py_code_mode_guest.values import TooLargeError, UnencodableError, encode_argument

#: The host's operations that these proxies speak through; a tool may have the same name.
_CALL, _DESCRIBE = "call", "describe"
#: A longer text is what a program reads; no argument of one may be as long.
_LARGE: Final = 512 * 1024
#: As many tools as ``help(tools)`` names.
_NAMED: Final = 50

# Annotations below a method called ``list`` need another name for the type.
Records = list[Record]


class ToolCallable(Operation):
    """Something to call: a tool itself, or what it has below it (``member``)."""

    def __init__(self, tools: Tools, tool: str, member: str = "") -> None:
        self._channel = tools._channel
        self._namespace = tools._name
        self._tools = tools
        self._tool = tool
        self._member = member
        self.__name__ = member or tool
        self.__qualname__ = ".".join(filter(None, (tools._name, tool, member)))

    def signature(self) -> str:
        """Return the typed signature."""
        return f"{self.__qualname__}{self._described(self._members())['signature']}"

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # the definition's words, fetched when asked
        return self._help(self._members())

    def __repr__(self) -> str:
        try:
            return f"<{self.__doc__}>"
        except errors.CodeModeError as error:
            return f"<{self.__qualname__}: {error}>"

    def _help(self, members: Records) -> str:
        described = self._described(members)
        return f"{self.__qualname__}{described['signature']}\n\n{described['doc']}"

    def _members(self) -> Records:
        """Return what the host says of the tool itself, and of each callable below it."""
        answer = self._tools._operations[_DESCRIBE](self._tool)
        return [Record(member) for member in answer["callables"]]

    def _described(self, members: Records) -> Record:
        names = [member.name for member in members]
        if self._member in names:
            return members[names.index(self._member)]
        close = difflib.get_close_matches(self._member, names)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise errors.ToolNotFoundError(
            f"{self._namespace}.{self._tool} has no recipe {self._member!r}{hint}"
        )

    def _message(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        named, ordered, request = dict(kwargs), list(args), {}
        given: list[tuple[Any, Any, Any]] = [(named, name, named[name]) for name in named]
        given += [(ordered, place, value) for place, value in enumerate(ordered)]
        for where, at, value in given:
            if type(value) in (str, bytes) and len(value) > _LARGE:
                # Beside the others, since one large piece may cross and a large structure may not.
                request = {"large": self._encode(value, str(at)), "large_at": at}
                where[at] = None
                break
        request |= {"name": self._tool, "callable": self._member or None}
        request["arguments"] = self._encode(named, "arguments")
        if ordered:
            request["args"] = self._encode(ordered, "args")
        return {"namespace": self._namespace, "operation": _CALL, "args": [], "kwargs": request}

    def _encode(self, value: Any, where: str) -> Any:
        """Encode all arguments at once, so that the wire's depth counts them together."""
        try:
            return encode_argument(value, exact=False, where=where, rich=lambda _: None)
        except (TooLargeError, UnencodableError) as error:
            raise errors.InvalidArgumentError(f"{self.__qualname__}: {error}") from None


class Tool(ToolCallable):
    """One tool: call it with any option of its schema, or what it has below it."""

    __doc__ = ToolCallable.__doc__  # the property, which the line above would hide

    def __getattr__(self, name: str) -> ToolCallable:
        if name.startswith("_"):
            raise AttributeError(name)
        return ToolCallable(self._tools, self._tool, name)

    def list(self) -> Records:
        """Return what can be called below it, each with name, signature and description."""
        kept = ("name", "signature", "description")
        return [
            Record({key: member[key] for key in kept}) for member in self._members() if member.name
        ]

    def _help(self, members: Records) -> str:
        below = [member for member in members if member.name]
        lines = [
            f"    {self.__qualname__}.{each.name}{each.signature}\n        {each.description}"
            for each in below
        ]
        return "\n".join([super()._help(members), *(["\nRecipes:"] if below else []), *lines])


class Tools(Namespace):
    """The namespace: ``list``, ``search``, and every tool as an attribute."""

    def __init__(self, channel: Channel, name: str, operations: list[dict[str, str]]) -> None:
        super().__init__(channel, name, operations)
        self.__dict__["_channel"] = channel

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._public().get(name) or Tool(self, name)

    def __dir__(self) -> list[str]:
        return sorted(self._public())

    def __repr__(self) -> str:
        lines = [f"  {operation.signature()}" for operation in self._public().values()]
        try:
            found = self.list()
        except errors.CodeModeError as error:
            lines.append(f"  ({error})")
        else:
            lines += [f"  {self._name}.{tool.name}: {tool.description}" for tool in found[:_NAMED]]
            if len(found) > _NAMED:
                lines.append(f"  … and {len(found) - _NAMED} more: {self._name}.search(...)")
        ways = f"{self._name}.<name>(...), {self._name}.<name>.<recipe>(...)"
        return "\n".join([f"<{self._name}: {ways}", *lines]) + ">"

    def _public(self) -> dict[str, Operation]:
        plumbing = (_CALL, _DESCRIBE)
        return {name: found for name, found in self._operations.items() if name not in plumbing}
