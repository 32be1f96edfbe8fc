"""Python values on the wire: JSON types and bytes as they are, anything else by a stated rule.

Two directions of strictness. A run's *value* always gets through: what has no JSON form becomes
its ``repr``. An *argument* of a host call must arrive as what it is, or be refused by its path.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgpack

from py_code_mode_guest.records import Blob, Record
from py_code_mode_guest.texts import kind_of, print_integer, printable, safe_repr
from py_code_mode_guest.wire import EXT_BLOB, EXT_INTEGER, MAX_STRUCTURE_BYTES, pack_blob

MAX_DEPTH: Final = 100
#: CPython refuses to print longer integers by default, and so do JSON readers.
MAX_DIGITS: Final = 4300
_MAX_BITS: Final = int(MAX_DIGITS / math.log10(2))


class UnencodableError(TypeError):
    """Raised when an argument has no exact form on the wire; the message names where it sits."""


class _Unshaped(Exception):  # noqa: N818 - a signal inside this module
    """The whole value has no JSON shape: a cycle, too deep, or a dict with other keys."""


class TooLargeError(UnencodableError):
    """Raised when a structured argument is larger than the host takes apart for a guest."""


class _OverBudget(Exception):  # noqa: N818 - a signal inside this module
    """The value is larger than the answer may be."""


def encode_argument(
    value: Any, *, exact: bool, where: str, rich: Callable[[Any], Blob | None]
) -> Any:
    """Return ``value`` for the wire; with ``exact`` only what can be given back equal.

    ``rich`` may turn an object into a Blob. Raises UnencodableError.
    """

    def other(item: Any, path: str, depth: int) -> Any:
        if not exact and type(item) is tuple:
            return encoder.encode(list(item), path, depth)
        blob = rich(item)
        if blob is None:
            raise UnencodableError(
                f"{path} is {kind_of(item)}, which has no exact JSON form; convert it first, with"
                f" {_conversion(item)}"
            )
        return msgpack.ExtType(EXT_BLOB, pack_blob(blob.media_type, blob.body))

    if type(value) in (str, bytes):  # one piece, of any size that fits in a frame
        return _Encoder(other, exact=exact, lenient=False, budget=math.inf).encode(value, where, 0)
    encoder = _Encoder(other, exact=exact, lenient=False, budget=MAX_STRUCTURE_BYTES)
    try:
        return encoder.encode(value, where, 0)
    except _Unshaped as error:
        raise UnencodableError(str(error)) from None
    except _OverBudget:
        raise TooLargeError(
            f"{where} is structured data of over {MAX_STRUCTURE_BYTES:,} bytes; pass it as one"
            " text or bytes value, such as json.dumps(...)"
        ) from None


#: Methods by which a type is known, and what makes JSON of it.
_CONVERSIONS: Final = (
    ("decode", "bytes(x)"),
    ("tolist", "x.tolist()"),  # numpy's arrays and numbers, pandas' columns
    ("isoformat", "x.isoformat()"),
    ("_asdict", "x._asdict()"),
    ("__dataclass_fields__", "dataclasses.asdict(x)"),
    ("keys", "dict(x)"),
    ("__fspath__", "str(x)"),
    ("__float__", "float(x) or str(x)"),
    ("__iter__", "list(x)"),
)


def _conversion(item: Any) -> str:
    """Return what a model may write; asks the type alone, and runs nothing of the value's."""
    known = set().union(*(vars(cls) for cls in type(item).__mro__))
    return next((words for name, words in _CONVERSIONS if name in known), "str(x)")


def is_exact(value: Any) -> bool:
    """Tell whether a value made of JSON types can be saved and given back equal."""

    def other(_item: Any, _path: str, _depth: int) -> Any:
        raise UnencodableError

    try:
        _Encoder(other, exact=True, lenient=False, budget=math.inf).encode(value, "", 0)
    except (UnencodableError, _Unshaped):
        return False
    return True


def encode_result(value: Any, max_bytes: int) -> tuple[Any, bool]:
    """Return a run's value for the wire and whether it was cut; never refuses.

    Raises only what an interrupt raises inside a slow ``__repr__``.
    """

    def other(item: Any, path: str, depth: int) -> Any:
        if type(item) in (tuple, set, frozenset):
            return encoder.encode(list(item), path, depth)
        scalar = _numpy_scalar(item)
        text = safe_repr(item, max_bytes) if scalar is None else scalar[0]
        return encoder.encode(text, path, depth)

    encoder = _Encoder(other, exact=False, lenient=True, budget=max_bytes)
    try:
        return encoder.encode(value, "value", 0), False
    except _OverBudget:
        return _cut(value, max_bytes), True
    except _Unshaped:
        text = safe_repr(value, max_bytes + 1)
        return (text, False) if len(text.encode()) <= max_bytes else (_cut(text, max_bytes), True)


class _Encoder:
    """One walk over one value; ``other`` decides on types without a JSON form."""

    def __init__(
        self,
        other: Callable[[Any, str, int], Any],
        *,
        exact: bool,
        lenient: bool,
        budget: float,
    ) -> None:
        self._other = other
        self._exact = exact
        self._lenient = lenient
        self._left = budget
        self._open: set[int] = set()

    def encode(self, value: Any, path: str, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            self._spend(1)
            return value
        handler = _HANDLERS.get(kind)
        if handler is None:
            return self._other(value, path, depth)
        return handler(self, value, path, depth)

    def _text(self, value: str, path: str, _depth: int) -> str:
        try:
            self._spend(5 + (len(value) if value.isascii() else len(value.encode())))
        except UnicodeEncodeError:
            if not self._lenient:
                raise UnencodableError(f"{path} has a lone surrogate, which is no text") from None
            value = printable(value)
            self._spend(5 + len(value))
        return value

    def _bytes(self, value: bytes, _path: str, _depth: int) -> bytes:
        self._spend(5 + len(value))
        return value

    def _float(self, value: float, path: str, _depth: int) -> float:
        self._spend(9)
        if self._exact and not math.isfinite(value):
            raise UnencodableError(f"{path} is {value!r}, which has no JSON form")
        return value

    def _integer(self, value: int, path: str, _depth: int) -> Any:
        if -(1 << 63) <= value < (1 << 63):
            self._spend(9)
            return value
        if value.bit_length() > _MAX_BITS and not _few_digits(value):
            if not self._lenient:
                raise UnencodableError(f"{path} is an integer of over {MAX_DIGITS} digits")
            return self._text(print_integer(value), path, 0)
        data = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        self._spend(len(data))
        return msgpack.ExtType(EXT_INTEGER, data)

    def _list(self, value: list[Any], path: str, depth: int) -> list[Any]:
        self._enter(value, path, depth)
        # A copy: agent threads may change the list while it is walked.
        out = [self.encode(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(list(value))]
        self._open.discard(id(value))
        return out

    def _dict(self, value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
        self._enter(value, path, depth)
        out = {}
        for key, item in list(value.items()):
            if type(key) is not str:
                raise _Unshaped(f"{path} has the key {safe_repr(key, 80)}, and keys must be text")
            name = self._text(key, f"a key of {path}", depth)
            out[name] = self.encode(item, f"{path}[{name!r}]", depth + 1)
        self._open.discard(id(value))
        return out

    def _enter(self, value: Any, path: str, depth: int) -> None:
        self._spend(5)
        if depth >= MAX_DEPTH:
            raise _Unshaped(f"{path[:200]}… is nested more than {MAX_DEPTH} levels deep")
        if id(value) in self._open:
            raise _Unshaped(f"{path} contains itself")
        self._open.add(id(value))

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _OverBudget


_HANDLERS: Final[dict[type, Callable[[_Encoder, Any, str, int], Any]]] = {
    str: _Encoder._text,
    bytes: _Encoder._bytes,
    float: _Encoder._float,
    int: _Encoder._integer,
    list: _Encoder._list,
    dict: _Encoder._dict,
    Record: _Encoder._dict,
}


def _few_digits(value: int) -> bool:
    bound: int = 10**MAX_DIGITS
    return -bound < value < bound


_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
    dict: ("{", "}"),
    Record: ("{", "}"),
}


def _numpy_scalar(value: Any) -> tuple[Any] | None:
    """Return ``(python scalar,)`` for a numpy number, text or bytes; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return None
    scalar = value.item()
    return (
        (scalar,) if type(scalar) in (bool, int, float, str, bytes) and _is_plain(value) else None
    )


def _is_plain(value: Any) -> bool:
    return value.dtype.kind not in "mM"  # a date's item() may be a bare count of nanoseconds


def _cut(value: Any, max_bytes: int) -> Any:
    if type(value) is bytes:
        return value[:max_bytes]
    if type(value) is str:
        text = value[:max_bytes]
    else:
        text, size = "", 0
        parts = []
        for part in _pieces(value, max_bytes, 0):
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                break
        text = "".join(parts)
    return printable(text).encode()[:max_bytes].decode("utf-8", "ignore")


def _pieces(value: Any, max_bytes: int, depth: int) -> Iterator[str]:
    """Yield the ``repr`` of a large value bit by bit, so that only its beginning is ever made."""
    kind = type(value)
    if kind not in _BRACKETS or depth > MAX_DEPTH:
        yield safe_repr(value, max_bytes)
        return
    is_map = kind in (dict, Record)
    opening, closing = _BRACKETS[kind]
    yield opening
    for number, item in enumerate(value):
        if number:
            yield ", "
        yield from _pieces(item, max_bytes, depth + 1)
        if is_map:
            yield ": "
            yield from _pieces(value[item], max_bytes, depth + 1)
    yield closing
