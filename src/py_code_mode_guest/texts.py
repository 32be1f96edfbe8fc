"""Values and text as something that can always be printed."""

from __future__ import annotations

import math
import sys
from typing import Any, Final

#: Printing an integer is quadratic; beyond this it is described instead.
_MAX_PRINTED_BITS: Final = 430_000


def safe_repr(value: Any, max_chars: int) -> str:
    """Return ``repr(value)``, cut, or a description where its ``__repr__`` fails."""
    if type(value) is int:
        return print_integer(value)[:max_chars]
    try:
        return printable(repr(value)[:max_chars])
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a __repr__ may raise anything
        return f"<{kind_of(value)} whose repr raised {type(error).__name__}>"


def printable(text: str) -> str:
    """Return ``text`` with lone surrogates escaped, so that it can be UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def print_integer(value: int) -> str:
    """Return the digits of ``value``, or a description where printing would take very long."""
    if value.bit_length() > _MAX_PRINTED_BITS:
        return f"<int of about {int(value.bit_length() * math.log10(2)):,} digits>"
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return str(value)
    finally:
        sys.set_int_max_str_digits(limit)


def kind_of(value: Any) -> str:
    """Return ``a list``, ``a pandas.DataFrame`` …: how a message names a value's type."""
    kind = type(value)
    name = getattr(kind, "__qualname__", "object")
    module = getattr(kind, "__module__", "")
    return f"a {name}" if module == "builtins" else f"a {module}.{name}"
