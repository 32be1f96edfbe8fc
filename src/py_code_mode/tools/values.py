"""Whether a value fits a parameter: asked of defaults at load, and of arguments in calls."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from py_code_mode.text import has_surrogates, kind_of, one_line
from py_code_mode.tools.definition import Parameter

#: Linux takes no longer argument (MAX_ARG_STRLEN, with the NUL that ends it).
MAX_ARGUMENT_BYTES: Final = 128 * 1024 - 1
_MAX_INTEGER_BITS: Final = 4096
_SHOWN: Final = 60
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "boolean": (bool,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
}
_NAMES: Final = {
    "boolean": "bool",
    "string": "str",
    "integer": "int",
    "number": "float",
    "array": "list[str]",
}


class LinearPattern:
    """A pattern without look-around and back-references, so that no value can make it slow.

    Raises:
        ValueError: for a text that is no such pattern.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        _compile(text)  # on its own, so that what follows cannot close a group that it left open
        self._whole = _compile(f"^(?:{text})$")

    def matches(self, value: str) -> bool:
        """Tell whether all of ``value`` matches."""
        try:
            self._whole.validate_python(value)
        except ValidationError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearPattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def type_name(parameter: Parameter) -> str:
    """Return a parameter's type as Python callers read it."""
    return "str | bytes" if parameter.kind == "stdin" else _NAMES[parameter.type]


def problem_with(parameter: Parameter, value: Any) -> str | None:
    """Return what is wrong with a value, as ``needs int for 'port', not str``; None if it fits."""
    name = parameter.name
    if parameter.kind == "stdin":
        if type(value) not in (str, bytes):
            return f"needs str | bytes for {name!r}, not {kind_of(value)}"
        return _encoding_problem(name, value) if type(value) is str else None
    if not _is_typed(parameter, value):
        return f"needs {type_name(parameter)} for {name!r}, not {_given(value)}"
    items = value if parameter.type == "array" else [value]
    return next(filter(None, (_item_problem(parameter, item) for item in items)), None)


def argument(value: Any) -> str:
    """Return one value as the text of a program's argument; numbers exactly, without exponent."""
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return str(value)


def _compile(text: str) -> TypeAdapter[str]:
    try:
        return TypeAdapter(Annotated[str, StringConstraints(pattern=text)])
    except SchemaError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(one_line(lines[-1].removeprefix("error: "))) from None


def _is_typed(parameter: Parameter, value: Any) -> bool:
    """Tell whether the type is right. A bool is no number here, and an int may be a float."""
    if isinstance(value, bool) and parameter.type != "boolean":
        return False
    if not isinstance(value, _TYPES[parameter.type]):
        return False
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


def _given(value: Any) -> str:
    if isinstance(value, list):
        kinds = sorted({kind_of(item) for item in value if not isinstance(item, str)})
        return f"a list with {', '.join(kinds)}" if kinds else "list"
    return kind_of(value)


def _item_problem(parameter: Parameter, value: Any) -> str | None:
    name = parameter.name
    if isinstance(value, str):
        problem = _text_problem(parameter, value)
    else:
        problem = _number_problem(parameter, value)
    if problem is None and parameter.choices and value not in parameter.choices:
        choices = ", ".join(map(repr, parameter.choices))
        return f"needs one of {choices} for {name!r}, not {_shown(value)}"
    return problem


def _number_problem(parameter: Parameter, value: float) -> str | None:
    name, low, high = parameter.name, parameter.minimum, parameter.maximum
    if not _is_usual(value):
        return f"needs a finite number of usual size for {name!r}"
    if low is not None and value < low:
        return f"needs at least {argument(low)} for {name!r}, not {_shown(value)}"
    if high is not None and value > high:
        return f"needs at most {argument(high)} for {name!r}, not {_shown(value)}"
    return None


def _is_usual(value: float) -> bool:
    """Tell whether a number can be written out: finite, and not of a thousand digits."""
    if isinstance(value, int):
        return value.bit_length() <= _MAX_INTEGER_BITS
    return math.isfinite(value)


def _text_problem(parameter: Parameter, value: str) -> str | None:
    name = parameter.name
    if "\0" in value:
        return f"got a NUL character in {name!r}, which no program's argument can have"
    problem = _encoding_problem(name, value)
    if problem is not None:
        return problem
    size = len(value.encode())
    if size > MAX_ARGUMENT_BYTES:
        return (
            f"got {size:,} bytes for {name!r}; one argument of a program can have "
            f"{MAX_ARGUMENT_BYTES:,} at most: give it less, or use standard input if it reads it"
        )
    if parameter.pattern is not None and not parameter.pattern.matches(value):
        return f"needs {name!r} to match {parameter.pattern.text!r}, which {_shown(value)} does not"
    return None


def _encoding_problem(name: str, value: str) -> str | None:
    if has_surrogates(value):
        return f"got half of a surrogate pair in {name!r}, which is no text"
    return None


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
