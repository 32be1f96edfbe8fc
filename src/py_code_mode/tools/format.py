"""The shape of a tool's file, part by part, and how a part that does not fit is told."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from py_code_mode.text import close_matches, kind_of, quoted
from py_code_mode.tools.definition import Output, ParameterType
from py_code_mode.tools.document import Document, Path

MAX_TIMEOUT_S = 3600


class Part(BaseModel):
    """A part of the file: exact types, no key that it does not know."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=False)


class SchemaPart(Part):
    """``schema``; each entry is read on its own, so that one mistake does not hide another."""

    options: dict[str, Any] | None = None
    positional: list[Any] | None = None
    stdin: dict[str, Any] | None = None


class FilePart(Part):
    """The top level of a file."""

    name: str
    description: Annotated[str, Field(min_length=1)]
    command: Annotated[str, Field(min_length=1)]
    type: str = "cli"
    args: list[str] = []
    timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)] = 60.0
    tags: list[str] = []
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    recipes: dict[str, Any] | None = None
    output: Output = "text"
    env: dict[str, str] = {}
    ok_exit_codes: Annotated[
        list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1)
    ] = [0]  # fmt: skip
    network: bool = True
    ports: list[Annotated[int, Field(ge=1, le=65535)]] | None = None
    end_of_options: bool = False


class ParameterPart(Part):
    """What options, positionals and standard input have in common."""

    description: str = ""
    required: bool = False


class ValuePart(ParameterPart):
    """What parameters that become arguments of the program have in common."""

    choices: Annotated[list[Any], Field(min_length=1)] | None = None
    minimum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    maximum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    pattern: str | None = None
    default: Any = None


class OptionPart(ValuePart):
    """One entry of ``schema.options``."""

    type: ParameterType
    short: Annotated[str, Field(pattern=r"^[A-Za-z0-9?#][A-Za-z0-9-]*$")] | None = None
    long: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None


class PositionalPart(ValuePart):
    """One entry of ``schema.positional``."""

    name: str
    type: ParameterType = "string"


class StdinPart(ParameterPart):
    """``schema.stdin``: the argument that the program reads from its standard input."""

    name: str


class RecipePart(Part):
    """One entry of ``recipes``; without ``params`` it takes the whole schema."""

    description: str = ""
    preset: dict[str, Any] | None = None
    params: dict[str, Any] | None = None


class OverridePart(Part):
    """One entry of a recipe's ``params``: what it says differently from the schema."""

    type: ParameterType | None = None
    default: Any = None
    description: str | None = None
    required: bool | None = None


P = TypeVar("P", bound=Part)


def read_part(part: type[P], values: Any, document: Document, path: Path) -> P | None:
    """Return a part of the file; None, with its problems told to ``document``, if it is wrong.

    An entry without a value (``url:``) is one without keys.
    """
    try:
        return part.model_validate({} if values is None and path else values)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            where = (*path, *found["loc"])
            document.refuse(where, _reason(part, found, where))
        return None


def path_text(path: Path) -> str:
    """Return ``schema.options.header`` for a path, as messages name a place."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return quoted(text.removeprefix("."))


def _reason(part: type[Part], found: Any, path: Path) -> str:
    kind, given, where = found["type"], found["input"], path_text(path)
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in part.model_fields.items()]
        return f"unknown key {where}{close_matches(path[-1], known)}"
    if kind in {"too_short", "string_too_short"}:
        return f"{where} is empty"
    if kind in _EXPECTED:
        hint = "; put it in quotes" if kind == "string_type" and _could_be_text(given) else ""
        return f"{where} must be {_EXPECTED[kind]}, not {_yaml_kind(given)}{hint}"
    return f"{where} {_value_reason(kind, given, found)}"


def _value_reason(kind: str, given: Any, found: Any) -> str:
    if kind == "literal_error":
        expected = found["ctx"]["expected"]
        close = difflib.get_close_matches(str(given), expected.split("'"), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"must be {expected}, not {quoted(given)}{hint}"
    if kind == "string_pattern_mismatch":
        return f"is {quoted(given)}; write the flag's name alone, without its dashes"
    said = found["msg"].removeprefix("Input ")
    return f"is {quoted(given)}; it {said}"


def _could_be_text(given: Any) -> bool:
    return isinstance(given, (bool, int, float))


def _yaml_kind(given: Any) -> str:
    names = {dict: "a mapping", list: "a list", bool: "true or false", str: "text"}
    if given is None:
        return "nothing"
    return names.get(type(given), f"the {kind_of(given)} {quoted(given)}")


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping ('key: value' lines)",
    "model_type": "a mapping ('key: value' lines)",
    "model_attributes_type": "a mapping ('key: value' lines)",
}
