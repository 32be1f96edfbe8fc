"""The rule of what may be saved: JSON values that come back equal, of the same types.

The check is definitive: data from a guest is hostile, whatever the guest's own side checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

from py_code_mode.errors import ArtifactTypeError
from py_code_mode.text import has_surrogates

MAX_DEPTH = 100
#: CPython prints and reads no longer integers, and neither do most readers of JSON.
MAX_DIGITS = 4300
_TOO_LONG = 10**MAX_DIGITS
_SHORT = 1 << 64
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_PATH_CHARS, _KEY_CHARS = 300, 40


class OverSizeError(Exception):
    """Raised when a value's JSON text would certainly be longer than was allowed."""


def encode_json(data: Any, *, where: str, max_bytes: int) -> bytes:
    """Return ``data`` as compact JSON in UTF-8.

    Raises:
        ArtifactTypeError: where it would not come back equal; names the place, as ``data["a"][3]``.
        OverSizeError: where it has more than ``max_bytes``. A value that refers to one list in many
            places is refused in bounded time, however large it would be when written out.
    """
    check_lossless(data, where=where, max_bytes=max_bytes)
    body = _ENCODER.encode(data).encode()
    if len(body) > max_bytes:
        raise OverSizeError
    return body


def check_lossless(data: Any, *, where: str, max_bytes: int) -> None:
    """Raise as ``encode_json`` does, though OverSizeError only by a lower bound of the size."""
    _Walk(where, max_bytes).visit(data)


class _Walk:
    """One pass over a value, depth first; the path leads to the item being visited.

    Saving is as fast as this is: an item costs one look-up and one call.
    """

    __slots__ = ("_left", "_path", "_where")

    def __init__(self, where: str, max_bytes: int) -> None:
        self._where = where
        self._left = max_bytes
        self._path: list[str | int] = []

    def visit(self, value: Any) -> None:
        _CHECKS.get(type(value), _Walk.refuse_type)(self, value)

    def visit_list(self, value: list[Any]) -> None:
        self._enter(len(value))
        path = self._path
        for path[-1], item in enumerate(value):
            _CHECKS.get(type(item), _Walk.refuse_type)(self, item)
        path.pop()

    def visit_dict(self, value: dict[Any, Any]) -> None:
        self._enter(len(value))
        path = self._path
        for key, item in value.items():
            if type(key) is not str:
                path.pop()
                self.refuse(f"has a key that is {_article(key)}; JSON keys are strings")
            path[-1] = key
            self.visit_text(key)
            _CHECKS.get(type(item), _Walk.refuse_type)(self, item)
        path.pop()

    def visit_text(self, value: str) -> None:
        self._spend(len(value))
        if has_surrogates(value):
            self.refuse("has half of a surrogate pair, which is no text")

    def visit_integer(self, value: int) -> None:
        if -_SHORT < value < _SHORT:
            return
        # A digit has 3.3 bits, so that this is never more than what will be written.
        self._spend(value.bit_length() // 4 - 1)
        if not -_TOO_LONG < value < _TOO_LONG:
            self.refuse(f"is an integer of more than {MAX_DIGITS:,} digits; save it as text")

    def visit_float(self, value: float) -> None:
        if not math.isfinite(value):
            self.refuse(f"is {value}, which JSON cannot hold; use None or text")

    def visit_constant(self, value: bool | None) -> None:  # noqa: FBT001 - it is the datum
        """Accept it."""

    def refuse_type(self, value: object) -> NoReturn:
        self.refuse(_unfit(value))

    def refuse(self, problem: str) -> NoReturn:
        steps = "".join(f"[{_step(key)}]" for key in self._path)
        if len(steps) > _PATH_CHARS:
            steps = f"{steps[:_PATH_CHARS]}..."
        raise ArtifactTypeError(f"{self._where}{steps} {problem}")

    def _enter(self, items: int) -> None:
        self._spend(items)
        if len(self._path) >= MAX_DEPTH:
            self.refuse(f"is nested more than {MAX_DEPTH} deep, or contains itself")
        self._path.append(0)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise OverSizeError


_CHECKS: dict[type, Callable[[_Walk, Any], None]] = {
    str: _Walk.visit_text,
    int: _Walk.visit_integer,
    float: _Walk.visit_float,
    bool: _Walk.visit_constant,
    type(None): _Walk.visit_constant,
    list: _Walk.visit_list,
    dict: _Walk.visit_dict,
}


def _unfit(value: object) -> str:
    hints: dict[type, str] = {
        tuple: "; convert it with list(...)",
        set: "; convert it with sorted(...) or list(...)",
        frozenset: "; convert it with sorted(...) or list(...)",
        bytes: "; save bytes by themselves, or as base64 text",
    }
    hint = hints.get(type(value), "")
    kept = "dict with string keys, list, str, int, float, bool and None come back as they are"
    return f"is {_article(value)}, which would not come back equal{hint} ({kept})"


def _article(value: object) -> str:
    name = type(value).__name__[:_KEY_CHARS]
    return f"{'an' if name[:1].lower() in set('aeiou') else 'a'} {name}"


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return str(key)
    return json.dumps(key if len(key) <= _KEY_CHARS else f"{key[:_KEY_CHARS]}...")
