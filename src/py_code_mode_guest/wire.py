"""The format of the wire: length-prefixed msgpack frames.

A frame is a 4-byte little-endian length and a msgpack map with a ``type``. Guest to host:
``ready``, ``call``, ``cancel``, ``output``, ``display``, ``done``. Host to guest: ``open``,
``run``, ``reply``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack

#: The largest frame either side accepts, in bytes.
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
#: The largest argument that is a list or dict: each byte of it may cost the host 70 of memory.
MAX_STRUCTURE_BYTES: Final = 2 * 1024 * 1024
#: Calls of one guest that are under way at once; it keeps more to itself.
MAX_CALLS: Final = 32
#: What a display is counted as beside its data, on both sides, so that many empty ones are many.
DISPLAY_COST: Final = 200
#: msgpack extension types: an integer over 64 bits; a read-only record; bytes with a media type.
EXT_INTEGER: Final = 1
EXT_RECORD: Final = 2
EXT_BLOB: Final = 3

HEADER: Final = struct.Struct("<I")
#: Bytes from which a value is sent as it is.
LARGE: Final = 256 * 1024
_MARK_BYTES: Final = 16
#: Of a megabyte, which is the default, a session whose memory is full has none.
_FIRST_BUFFER: Final = 4096
#: How msgpack begins a mark.
_MARKED: Final = bytes([0xC4, _MARK_BYTES])


def pack(message: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return the frame of a message, header included. Raises ValueError when it is too large.

    ``default`` makes something of values that msgpack does not know.
    """
    body: bytes = msgpack.packb(message, default=default, buf_size=_FIRST_BUFFER)
    _check_size(len(body))
    return HEADER.pack(len(body)) + body


def pack_call(call: dict[str, Any]) -> list[bytes]:
    """Return the frame of a call in pieces, of which large arguments are some as they are.

    Raises ValueError when the frame is too large.
    """
    values = (*call["args"], *call["kwargs"].values())
    if not any(type(value) is bytes and len(value) >= LARGE for value in values):
        return [pack(call)]  # by far the most
    large: list[Large] = []

    def without_large(value: Any) -> Any:
        if type(value) is not bytes or len(value) < LARGE:
            return value
        large.append(Large(bytes_head(len(value)), value))
        return large[-1].mark

    args = [without_large(value) for value in call["args"]]
    kwargs = {name: without_large(value) for name, value in call["kwargs"].items()}
    return pack_around({**call, "args": args, "kwargs": kwargs}, large)


class Large:
    """A large value in a frame: its body goes as it is, and in the message a mark stands for it.

    Packing would copy it three times.
    """

    __slots__ = ("body", "head", "mark")

    def __init__(self, head: bytes, body: bytes) -> None:
        self.mark = os.urandom(_MARK_BYTES)
        self.head = head
        self.body = body


def pack_around(
    message: Any, large: Sequence[Large], default: Callable[[Any], Any] | None = None
) -> list[bytes]:
    """Return the frame of a message in pieces: large values in place of their marks.

    ``large`` is in the order of the message. Raises ValueError when the frame is too large.
    """
    rest: bytes = msgpack.packb(message, default=default, buf_size=_FIRST_BUFFER)
    pieces: list[bytes] = []
    for one in large:
        before, _, rest = rest.partition(_MARKED + one.mark)
        pieces += [before + one.head, one.body]
    pieces.append(rest)
    size = sum(map(len, pieces))
    _check_size(size)
    return [HEADER.pack(size) + pieces[0], *pieces[1:]]


def _check_size(size: int) -> None:
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"{size:,} bytes are over the frame limit of {MAX_FRAME_BYTES:,}")


def bytes_head(size: int) -> bytes:
    """Return what msgpack writes before so many bytes."""
    return struct.pack(">BI", 0xC6, size)


def blob_head(media_type: str, size: int) -> bytes:
    """Return what msgpack writes before the body, of so many bytes, of a blob."""
    name = _blob_name(media_type)
    return struct.pack(">BIB", 0xC9, len(name) + size, EXT_BLOB) + name


def pack_blob(media_type: str, body: bytes) -> bytes:
    """Return the data of a blob extension: one length byte, the media type, the body."""
    return _blob_name(media_type) + body


def _blob_name(media_type: str) -> bytes:
    name = media_type.encode("ascii")
    return bytes([len(name)]) + name


def unpack_blob(data: bytes) -> tuple[str, bytes]:
    """Return media type and body. Raises ValueError for anything malformed."""
    if not data or len(data) < 1 + data[0]:
        raise ValueError("a malformed blob")
    return data[1 : 1 + data[0]].decode("ascii"), data[1 + data[0] :]
