"""A program's arguments, built so that no value of a caller can be more than one value.

Never a shell: each value is an entry of its own. Options take theirs from the entry that follows,
and a positional that could be read as an option is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from py_code_mode.tools.arguments import ArgumentProblem, bind, refused
from py_code_mode.tools.definition import Parameter, Recipe, ToolDefinition
from py_code_mode.tools.values import argument

#: All arguments of one program together; the kernel would take about twice as much.
MAX_TOTAL_BYTES: Final = 1024 * 1024
_POINTER_BYTES: Final = 9  # and the NUL


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What follows the program's name, and what it reads from its standard input."""

    arguments: tuple[str, ...]
    stdin: bytes


def command_line(
    tool: ToolDefinition, recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> CommandLine:
    """Return the command line of one call.

    Raises:
        InvalidArgumentError: for arguments that do not fit; names the parameter and its type.
    """
    try:
        values = bind(recipe, args, kwargs)
        arguments = (
            *tool.args,
            *(text for option in tool.options for text in _option(option, values)),
            *_after_options(tool, list(_positionals(tool, values))),
        )
        _check_size(arguments)
    except ArgumentProblem as problem:
        raise refused(tool, recipe, problem) from None
    stdin = values.get(tool.stdin.name, b"") if tool.stdin is not None else b""
    return CommandLine(arguments, stdin.encode() if isinstance(stdin, str) else stdin)


def _option(option: Parameter, values: Mapping[str, Any]) -> Iterator[str]:
    value = values.get(option.name)
    if option.type == "boolean":
        if value:
            yield option.flag
        return
    for item in _items(value):
        yield option.flag
        yield argument(item)


def _positionals(tool: ToolDefinition, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the positionals. Invariant: none is an option, unless ``--`` stands before them."""
    left_out = None
    for parameter in tool.positional:
        items = _items(values.get(parameter.name))
        if not items:
            if parameter.required:
                raise ArgumentProblem(f"needs at least one {parameter.name!r}", parameter.name)
            left_out = left_out or parameter.name
        elif left_out is not None:
            # It would be read as the one that is missing.
            raise ArgumentProblem(f"needs {left_out!r} too, where {parameter.name!r} is given")
        for item in items:
            text = argument(item)
            if text.startswith("-") and not tool.end_of_options:
                raise ArgumentProblem(_DASH.format(name=parameter.name), parameter.name)
            yield text


def _after_options(tool: ToolDefinition, positionals: list[str]) -> list[str]:
    return ["--", *positionals] if positionals and tool.end_of_options else positionals


_DASH: Final = "refuses a {name!r} that begins with '-': the program would take it for an option"


def _items(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _check_size(arguments: Sequence[str]) -> None:
    size = sum(len(text.encode()) + _POINTER_BYTES for text in arguments)
    if size > MAX_TOTAL_BYTES:
        raise ArgumentProblem(
            f"got arguments of {size:,} bytes in all; a program can have {MAX_TOTAL_BYTES:,} at "
            "most: give it less, or use standard input if it reads it"
        )
