"""How much of a large frame is structure, told without making any of it.

A byte of msgpack can become 70 bytes of Python: an empty list. A single text, byte string or blob
costs what it weighs. So a large call may be large in such single pieces, and in nothing else.
"""

from __future__ import annotations

from typing import Final

import msgpack

from py_code_mode_guest.wire import MAX_STRUCTURE_BYTES

#: First byte of bin, ext and str: bytes of its length field, and of the extension's code.
_PIECES: Final = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
}  # fmt: skip
#: Array and map: the mask and value of the short form, the two long forms, items per entry.
_ARRAY: Final = (0xF0, 0x90, {0xDC: 2, 0xDD: 4}, 1)
_MAP: Final = (0xF0, 0x80, {0xDE: 2, 0xDF: 4}, 2)


class TooStructuredError(Exception):
    """Raised when a frame holds more lists, dicts and scalars than it may."""


def check_call(body: memoryview) -> None:
    """Check the frame of a call. Raises TooStructuredError, msgpack's errors, IndexError."""
    _Walk(body).frame()


class _Walk:
    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0
        self._left = MAX_STRUCTURE_BYTES

    def frame(self) -> None:
        for _ in range(self._count(_MAP) // 2):
            key = self._at
            self._value()
            name = bytes(self._body[key : self._at])
            if name == _ARGS:
                self._values(self._count(_ARRAY))
            elif name == _KWARGS:
                self._values(self._count(_MAP))
            else:
                self._value()

    def _values(self, count: int) -> None:
        if count > self._left:
            raise TooStructuredError
        for _ in range(count):
            self._value()

    def _count(self, form: tuple[int, int, dict[int, int], int]) -> int:
        mask, value, long_forms, items = form
        first = self._body[self._at]
        self._at += 1
        if first & mask == value:
            return items * (first & ~mask)
        size = long_forms.get(first)
        if size is None:
            raise TooStructuredError
        return items * self._number(size)

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
        unpacker = msgpack.Unpacker(max_buffer_size=MAX_STRUCTURE_BYTES)
        unpacker.feed(self._body[self._at : self._at + self._left])
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            raise TooStructuredError from None
        self._at += unpacker.tell()
        self._left -= unpacker.tell()


_ARGS: Final = msgpack.packb("args")
_KWARGS: Final = msgpack.packb("kwargs")
