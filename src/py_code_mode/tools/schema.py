"""Reads ``schema``: what a program takes, as parameters that callers can be checked against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from py_code_mode.text import quoted
from py_code_mode.tools.definition import ABSENT, Kind, Parameter
from py_code_mode.tools.document import Document, Path
from py_code_mode.tools.format import (
    OptionPart,
    PositionalPart,
    SchemaPart,
    StdinPart,
    ValuePart,
    read_part,
)
from py_code_mode.tools.names import RESERVED_PARAMETERS, Names
from py_code_mode.tools.values import LinearPattern, problem_with


class Schema:
    """The parameters of a file. ``unsure`` where some could not be read: then not all are here."""

    def __init__(self, document: Document, values: Any, *, end_of_options: bool) -> None:
        self.parameters: dict[str, Parameter] = {}
        self.unsure = False
        self._document = document
        self._names = Names(document, "parameter", RESERVED_PARAMETERS)
        self._dashes_allowed = end_of_options
        part = read_part(SchemaPart, values, document, ("schema",))
        if part is None:
            self.unsure = True
            return
        for name, given in (part.options or {}).items():
            self._keep(self._option(name, given, ("schema", "options", name)))
        for place, given in enumerate(part.positional or []):
            self._keep(self._positional(given, ("schema", "positional", place)))
        if part.stdin is not None:
            self._keep(self._stdin(part.stdin, ("schema", "stdin")))
        self._check_order()

    def of(self, kind: Kind) -> tuple[Parameter, ...]:
        """Return the parameters of one kind, in the order of the file."""
        return tuple(found for found in self.parameters.values() if found.kind == kind)

    def check_value(self, parameter: Parameter, value: Any, path: Path, what: str) -> None:
        """Check a value written in the file; its problem goes to the document."""
        problem = problem_with(parameter, value)
        if problem is None and parameter.kind == "positional" and not self._dashes_allowed:
            items = value if isinstance(value, list) else [value]
            if any(str(item).startswith("-") for item in items):
                problem = f"begins with '-' for {parameter.name!r}; fixed options belong in 'args'"
        if problem is not None:
            self._document.refuse(path, f"{what} {problem}")

    def _keep(self, parameter: Parameter | None) -> None:
        if parameter is None:
            self.unsure = True
        else:
            self.parameters[parameter.name] = parameter

    def _option(self, name: str, values: Any, path: Path) -> Parameter | None:
        part = read_part(OptionPart, values, self._document, path)
        called = self._names.take(name, path)
        if part is None or called is None:
            return None
        flag = f"-{part.short}" if part.short else f"--{part.long or name.replace('_', '-')}"
        bare = Parameter(called, "option", part.type, part.description, part.required, flag=flag)
        return self._constrained(bare, part, path)

    def _positional(self, values: Any, path: Path) -> Parameter | None:
        part = read_part(PositionalPart, values, self._document, path)
        called = None if part is None else self._names.take(part.name, (*path, "name"))
        if part is None or called is None:
            return None
        if part.type == "boolean":
            problem = "a positional cannot be boolean: it has no flag that could be left out"
            self._document.refuse((*path, "type"), problem)
            return None
        bare = Parameter(called, "positional", part.type, part.description, part.required)
        return self._constrained(bare, part, path)

    def _stdin(self, values: Any, path: Path) -> Parameter | None:
        part = read_part(StdinPart, values, self._document, path)
        called = None if part is None else self._names.take(part.name, (*path, "name"))
        if part is None or called is None:
            return None
        return Parameter(called, "stdin", "string", part.description, part.required)

    def _constrained(self, bare: Parameter, part: ValuePart, path: Path) -> Parameter | None:
        """Return the parameter with its limits, choices and default, if these make sense."""
        told = len(self._document.problems)
        for key, reason in _misplaced(bare.type, part):
            self._document.refuse((*path, key), f"{quoted(key)} {reason}")
        limited = replace(
            bare,
            pattern=self._pattern(part.pattern, path),
            minimum=_number(part.minimum),
            maximum=_number(part.maximum),
        )
        if len(self._document.problems) > told:
            return None
        choices = part.choices or []
        for place, choice in enumerate(choices):
            value = [choice] if bare.type == "array" else choice
            self.check_value(limited, value, (*path, "choices", place), "a choice")
        chosen = replace(limited, choices=tuple(choices))
        if part.default is not None:
            chosen = self._defaulted(chosen, part.default, (*path, "default"))
        return chosen if len(self._document.problems) == told else None

    def _defaulted(self, parameter: Parameter, default: Any, path: Path) -> Parameter:
        if parameter.required:
            self._document.refuse(path, "required and with a default: remove one of them")
        self.check_value(parameter, default, path, "the default")
        return replace(parameter, default=default)

    def _pattern(self, text: str | None, path: Path) -> LinearPattern | None:
        if text is None:
            return None
        try:
            return LinearPattern(text)
        except ValueError as error:
            where = (*path, "pattern")
            self._document.refuse(where, f"the pattern {quoted(text)} cannot be used: {error}")
            return None

    def _check_order(self) -> None:
        optional = None
        for place, parameter in enumerate(self.of("positional")):
            if parameter.required and optional is not None:
                self._document.refuse(
                    ("schema", "positional", place),
                    f"{parameter.name!r} is required and comes after {optional!r}, which may be "
                    "left out; the program could not tell them apart",
                )
            if not parameter.required and parameter.default is ABSENT:
                optional = parameter.name


def _misplaced(kind: str, part: ValuePart) -> Iterator[tuple[str, str]]:
    """Yield the keys that say nothing about values of this type, and limits that exclude all."""
    numeric, textual = kind in {"integer", "number"}, kind in {"string", "array"}
    for key, fits in (("minimum", numeric), ("maximum", numeric), ("pattern", textual)):
        if getattr(part, key) is not None and not fits:
            yield key, f"does not go with the type {kind}"
    if part.choices is not None and kind == "boolean":
        yield "choices", "does not go with the type boolean"
    if part.minimum is not None and part.maximum is not None and part.minimum > part.maximum:
        yield "minimum", "is larger than 'maximum'"


def _number(limit: float | None) -> float | None:
    return int(limit) if limit is not None and limit.is_integer() else limit
