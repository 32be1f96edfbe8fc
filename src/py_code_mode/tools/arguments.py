"""What a caller gave, checked against a recipe before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from py_code_mode.errors import InvalidArgumentError
from py_code_mode.text import SHOWN_CHARS, close_matches, quoted
from py_code_mode.tools.definition import ABSENT, Parameter, Recipe, ToolDefinition
from py_code_mode.tools.signature import by_position, signature
from py_code_mode.tools.values import problem_with, type_name


class ArgumentProblem(Exception):  # noqa: N818 - a signal between the modules of a call
    """What is wrong with a call, as ``needs int for 'port', not str``; ``parameter`` if one is."""

    def __init__(self, problem: str, parameter: object = None) -> None:
        super().__init__(problem)
        self.parameter = parameter


def call_path(tool: ToolDefinition, recipe: Recipe) -> str:
    """Return ``tools.curl.get``, or ``tools.curl`` for the tool itself."""
    return f"tools.{tool.name}.{recipe.name}" if recipe.name else f"tools.{tool.name}"


def refused(tool: ToolDefinition, recipe: Recipe, problem: ArgumentProblem) -> InvalidArgumentError:
    """Return the error that callers get: the problem, and how it is called."""
    path, named = call_path(tool, recipe), problem.parameter
    fields = {} if named is None else {"parameter": str(named)[:SHOWN_CHARS]}
    return InvalidArgumentError(
        f"{path}() {problem}; it is called as {path}{signature(tool, recipe)}", **fields
    )


def bind(recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each parameter that has one: given, default or fixed.

    Raises:
        ArgumentProblem: for a missing, unknown, duplicate or unfitting argument.
    """
    given = _named(recipe, args, kwargs)
    values = dict(recipe.fixed)
    for parameter in recipe.parameters:
        value = given.get(parameter.name, ABSENT)
        if value is None and not parameter.required and parameter.default is ABSENT:
            continue
        if value is ABSENT:
            value = _left_out(parameter)
        else:
            problem = problem_with(parameter, value)
            if problem is not None:
                raise ArgumentProblem(problem, parameter.name)
        if value is not ABSENT:
            values[parameter.name] = value
    return values


def _named(recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    ordered = [parameter.name for parameter in by_position(recipe)]
    known = [parameter.name for parameter in recipe.parameters]
    if len(args) > len(ordered):
        raise ArgumentProblem(f"takes {_count(len(ordered))} by position, {len(args)} were given")
    named = dict(zip(ordered, args, strict=False))
    for name, value in kwargs.items():
        if name not in known:
            raise ArgumentProblem(_unknown(name, recipe, known), name)
        if name in named:
            raise ArgumentProblem(f"got {name!r} twice, by position and by name", name)
        named[name] = value
    return named


def _unknown(name: str, recipe: Recipe, known: Sequence[str]) -> str:
    if name in recipe.fixed:
        return f"sets {name!r} itself, and callers cannot change it"
    return f"has no parameter {quoted(name)}{close_matches(name, known)}"


def _left_out(parameter: Parameter) -> Any:
    if parameter.required:
        name, kind = parameter.name, type_name(parameter)
        raise ArgumentProblem(f"needs {name!r} ({kind}), which is missing", name)
    return parameter.default


def _count(number: int) -> str:
    return f"{number} argument" if number == 1 else f"{number or 'no'} arguments"
