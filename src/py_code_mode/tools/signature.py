"""A tool's callables as Python reads them: typed signatures, and the text that ``help`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from py_code_mode.text import one_line, plain
from py_code_mode.tools.definition import ABSENT, Parameter, Recipe, ToolDefinition
from py_code_mode.tools.values import argument, type_name

_RETURNS: Final = {"text": "str", "json": "Any", "lines": "list[str]", "bytes": "bytes"}
_MEANING: Final = {
    "text": "what the program printed",
    "json": "the JSON value that the program printed",
    "lines": "the lines that the program printed",
    "bytes": "the bytes that the program printed",
}
_MAX_DESCRIPTION: Final = 4_000
_MAX_DEFAULT: Final = 60


def by_position(recipe: Recipe) -> list[Parameter]:
    """Return what may be given without its name: positionals, then standard input.

    What is required comes first, as Python has it; standard input where that leaves it last.
    """
    positional = [found for found in recipe.parameters if found.kind == "positional"]
    ordered = sorted(positional, key=lambda found: not found.required)
    stdin = [found for found in recipe.parameters if found.kind == "stdin"]
    if stdin and stdin[0].required and not all(found.required for found in ordered):
        return ordered
    return ordered + stdin


def signature(tool: ToolDefinition, recipe: Recipe) -> str:
    """Return ``(url: str, *, silent: bool = False) -> str``."""
    first, named = by_position(recipe), _by_name(recipe)
    shown = [_shown(found) for found in first]
    if named:
        shown += ["*", *map(_shown, named)]
    return f"({', '.join(shown)}) -> {_RETURNS[tool.output]}"


def documentation(tool: ToolDefinition, recipe: Recipe) -> str:
    """Return the description, and what is known of each parameter and of the value."""
    text = plain((recipe.description or tool.description)[:_MAX_DESCRIPTION]).strip()
    parts = [text, *_arguments(recipe)]
    parts.append(f"Returns:\n    {_RETURNS[tool.output]}: {_MEANING[tool.output]}.")
    parts.append(
        "Raises:\n"
        "    ToolCallError: the program failed; has exit_code, stdout and stderr.\n"
        f"    ToolTimeoutError: it took longer than {argument(_seconds(tool.timeout_s))} s."
    )
    return "\n\n".join(parts)


def _by_name(recipe: Recipe) -> list[Parameter]:
    first = by_position(recipe)
    named = [found for found in recipe.parameters if found not in first]
    return sorted(named, key=lambda found: not found.required)


def _seconds(timeout_s: float) -> float:
    return int(timeout_s) if timeout_s.is_integer() else timeout_s


def _shown(parameter: Parameter) -> str:
    text = f"{parameter.name}: {type_name(parameter)}"
    if parameter.required:
        return text
    if parameter.default is not ABSENT:
        return f"{text} = {_default(parameter.default)}"
    return f"{text} = False" if parameter.type == "boolean" else f"{text} | None = None"


def _default(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_DEFAULT else "..."


def _arguments(recipe: Recipe) -> Iterator[str]:
    ordered = [*by_position(recipe), *_by_name(recipe)]
    said = [(found.name, ". ".join(_said(found))) for found in ordered]
    lines = [f"    {name}: {text}" for name, text in said if text]
    if lines:
        yield "\n".join(["Args:", *lines])


def _said(parameter: Parameter) -> Iterator[str]:
    """Yield what is known of a parameter, in sentences without their full stops."""
    if parameter.description:
        yield one_line(parameter.description).rstrip(".")
    if parameter.choices:
        yield one_line(f"One of {', '.join(map(repr, parameter.choices))}")
    limits = [("at least", parameter.minimum), ("at most", parameter.maximum)]
    known = [f"{words} {argument(limit)}" for words, limit in limits if limit is not None]
    if known:
        yield " and ".join(known).capitalize()
    if parameter.pattern is not None:
        yield one_line(f"Must match {parameter.pattern.text}")
    if parameter.kind == "stdin":
        yield "Given to the program's standard input"
