"""What an operation of a namespace is: an async method with typed, checked arguments.

The decorator marks it, and everything else (names, signatures, help, argument checks) is read from
the method itself, so that no second list of names can go out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from py_code_mode.errors import InvalidArgumentError, NotAvailableError
from py_code_mode.text import SHOWN_CHARS, close_matches, kind_of, quoted
from py_code_mode.tools.base import Caller

Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])
Accepts = Callable[[object], bool]

_MARK = "_is_operation"
_SCALARS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bytes: (bytes,),
    bool: (bool,),
    int: (int,),
    float: (float, int),
    NoneType: (NoneType,),
}


def operation(method: Method) -> Method:
    """Mark an async method as an operation of its service's namespace."""
    setattr(method, _MARK, True)
    return method


def operation_names(service: type) -> list[str]:
    """Return the names of a service class's operations, in the order they are written."""
    classes = reversed(service.__mro__)
    return [name for cls in classes for name, member in vars(cls).items() if hasattr(member, _MARK)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; ``expected`` is its type as callers should read it."""

    name: str
    expected: str
    accepts: Accepts
    required: bool
    shown: str


class Operation:
    """A bound method of a service, introspected once.

    Raises:
        TypeError: when built from a method whose parameters no caller could be checked against.
    """

    def __init__(self, namespace: str, method: Callable[..., Awaitable[Any]]) -> None:
        hints = get_type_hints(method)
        self.run = method
        self.path = f"{namespace}.{method.__name__}"
        self.name = method.__name__
        self.doc = inspect.getdoc(method) or ""
        parameters = inspect.signature(method).parameters
        self._caller = next((n for n in parameters if hints[n] in (Caller, Caller | None)), None)
        self._needs_caller = self._caller is not None and hints[self._caller] is Caller
        self._parameters = {
            name: _parameter(parameter, hints[name])
            for name, parameter in parameters.items()
            if name != self._caller
        }
        shown = ", ".join(parameter.shown for parameter in self._parameters.values())
        self.signature = f"({shown}) -> {_type_text(hints['return'])}"

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, caller: Caller | None = None
    ) -> dict[str, Any]:
        """Return the arguments by name, checked; defaults are left to the method.

        A parameter annotated ``Caller`` is no argument: it gets ``caller``, whoever else asks;
        annotated ``Caller | None``, it gets None where nobody's session asks.

        Raises:
            InvalidArgumentError: for a missing, unknown, duplicate or wrongly typed one.
            NotAvailableError: where the operation needs a session and there is none.
        """
        names = list(self._parameters)
        if len(args) > len(names):
            self._refuse(f"takes at most {len(names)} arguments, {len(args)} were given")
        bound = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in self._parameters:
                self._refuse(f"has no parameter {quoted(name)}{close_matches(name, names)}", name)
            if name in bound:
                self._refuse(f"got {name!r} twice, by position and by name", name)
            bound[name] = value
        for parameter in self._parameters.values():
            self._check(parameter, bound)
        if self._caller is not None:
            bound[self._caller] = self._session(caller)
        return bound

    def _session(self, caller: Caller | None) -> Caller | None:
        if caller is None and self._needs_caller:
            raise NotAvailableError(
                f"{self.path}() works only from a session, whose folder and limits it uses"
            )
        return caller

    def _check(self, parameter: Parameter, bound: Mapping[str, Any]) -> None:
        name = parameter.name
        if name not in bound:
            if parameter.required:
                self._refuse(f"needs {name!r} ({parameter.expected}), which is missing", name)
        elif not parameter.accepts(bound[name]):
            got = kind_of(bound[name])
            self._refuse(f"needs {parameter.expected} for {name!r}, not {got}", name)

    def _refuse(self, problem: str, parameter: object = None) -> NoReturn:
        fields = {} if parameter is None else {"parameter": str(parameter)[:SHOWN_CHARS]}
        raise InvalidArgumentError(
            f"{self.path}() {problem}; it is called as {self.path}{self.signature}", **fields
        )


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise TypeError(f"operations cannot have the parameter {parameter}")
    required = parameter.default is inspect.Parameter.empty
    text = _type_text(hint)
    shown = f"{parameter.name}: {text}" + ("" if required else f" = {parameter.default!r}")
    return Parameter(parameter.name, text, _acceptor(hint), required, shown)


def _acceptor(hint: Any) -> Accepts:
    """Return the check for an annotation. A bool is no int here, and an int may be a float."""
    origin, inner = get_origin(hint), [_acceptor(arg) for arg in get_args(hint)]
    if hint is Any:
        return lambda _value: True
    if origin in {Union, UnionType}:
        return lambda value: any(accepts(value) for accepts in inner)
    if origin is list:
        return lambda value: isinstance(value, list) and all(map(inner[0], value))
    if origin is dict:
        return lambda value: (
            isinstance(value, dict)
            and all(inner[0](key) and inner[1](item) for key, item in value.items())
        )
    if hint not in _SCALARS:
        raise TypeError(f"operations cannot take arguments of type {hint!r}")
    kinds = _SCALARS[hint]
    return lambda value: isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))


def _type_text(hint: Any) -> str:
    if hint is NoneType:
        return "None"
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", inspect.formatannotation(hint))
