"""How much of a large frame is structure, told without making any of it.

A byte of msgpack can become 70 bytes of Python: an empty list. A single text, byte string or blob
costs what it weighs. So a large frame may be large in such single pieces, and in little else.
"""

from __future__ import annotations

from typing import Final

import msgpack

from py_code_mode_guest.wire import MAX_STRUCTURE_BYTES

#: The fields whose items may be large pieces, and how deep below them these are.
_DEPTHS: Final = {msgpack.packb(n): d for n, d in
                  {"args": 1, "kwargs": 1, "bundle": 1, "parts": 2}.items()}  # fmt: skip
_VALUE: Final = msgpack.packb("value")
#: Lists, dicts and items that are looked at one by one; our guests never send so many.
_MAX_STEPS: Final = 100_000
_MAX_FIELDS: Final = 16
#: First byte of bin, ext and str: bytes of its length field, and of the extension's code.
_PIECES: Final = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
    **{0xA0 | n: (0, n) for n in range(32)},
}  # fmt: skip
#: Arrays and maps in their long forms: bytes of the count, items per entry.
_LONG_FORMS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
#: What is skipped at once, at first: most values are small.
_FIRST_BYTES: Final = 512


class TooStructuredError(Exception):
    """Raised when a frame holds more lists, dicts and scalars than it may."""


def check_structure(body: memoryview, most_of_value: int) -> None:
    """Check a frame of over MAX_STRUCTURE_BYTES: more of it is structure in a run's value alone.

    Raises TooStructuredError, msgpack's errors, IndexError.
    """
    _Walk(body).frame(most_of_value)


class _Walk:
    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0
        self._left = MAX_STRUCTURE_BYTES
        self._steps = _MAX_STEPS

    def frame(self, most_of_value: int) -> None:
        count = self._items()
        if count is None or count > 2 * _MAX_FIELDS:
            raise TooStructuredError
        for _ in range(count // 2):
            start = self._at
            self._value()
            name = bytes(self._body[start : self._at])
            if name == _VALUE:
                self._left = max(self._left, most_of_value)
            self._below(_DEPTHS.get(name, 0))

    def _below(self, depth: int) -> None:
        """Step over one value; down to ``depth`` its items are looked at by themselves."""
        start = self._at
        count = self._items() if depth else None
        if count is None:
            self._at = start
            self._value()
            return
        self._steps -= count
        if self._steps < 0:
            raise TooStructuredError
        for _ in range(count):
            self._below(depth - 1)

    def _items(self) -> int | None:
        """Step over the head of an array or map; returns its items, None for another value."""
        first = self._body[self._at]
        self._at += 1
        if first & 0xF0 == 0x90:
            return first & 0x0F
        if first & 0xF0 == 0x80:
            return 2 * (first & 0x0F)
        size, each = _LONG_FORMS.get(first, (0, 0))
        return each * self._number(size) if each else None

    def _number(self, size: int) -> int:
        number = int.from_bytes(self._body[self._at : self._at + size], "big")
        self._at += size
        return number

    def _value(self) -> None:
        """Step over one value; only what is no single piece counts."""
        piece = _PIECES.get(self._body[self._at])
        if piece is not None:
            self._at += 1
            length = self._number(piece[0])
            self._at += piece[1] + length
            return
        size = self._skipped()
        self._at += size
        self._left -= size

    def _skipped(self) -> int:
        """Return the bytes of the value that begins here."""
        window = _FIRST_BYTES
        while True:
            window = min(window, self._left)
            unpacker = msgpack.Unpacker(max_buffer_size=window + 1)
            unpacker.feed(self._body[self._at : self._at + window])
            try:
                unpacker.skip()
            except msgpack.OutOfData:
                if window >= self._left:
                    raise TooStructuredError from None
                window *= 8
            else:
                return int(unpacker.tell())
