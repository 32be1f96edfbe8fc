"""The format of the wire: length-prefixed msgpack frames.

A frame is a 4-byte little-endian length and a msgpack map with a ``type``. Guest to host:
``ready``, ``call``, ``output``, ``display``, ``done``. Host to guest: ``open``, ``run``, ``reply``.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final

import msgpack

#: The largest frame either side accepts, in bytes.
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
#: The largest argument that is a list or dict: each byte of it may cost the host 70 of memory.
MAX_STRUCTURE_BYTES: Final = 2 * 1024 * 1024
#: msgpack extension types: an integer over 64 bits; a read-only record; bytes with a media type.
EXT_INTEGER: Final = 1
EXT_RECORD: Final = 2
EXT_BLOB: Final = 3

HEADER: Final = struct.Struct("<I")
#: An argument of more bytes is sent as it is; until then a mark of so many stands for it.
_LARGE: Final = 256 * 1024
_MARK_BYTES: Final = 16
#: How msgpack begins a mark, and the bytes that it stands for.
_BIN8: Final = bytes([0xC4, _MARK_BYTES])
_BIN32: Final = struct.Struct(">BI")


def pack(message: Any) -> bytes:
    """Return the frame of a message, header included. Raises ValueError when it is too large."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"{len(body):,} bytes are over the frame limit of {MAX_FRAME_BYTES:,}")
    return HEADER.pack(len(body)) + body


def pack_pieces(call: dict[str, Any]) -> list[bytes]:
    """Return the frame of a call in pieces, of which large arguments are some as they are.

    Packing would copy them three times. Raises ValueError when the frame is too large.
    """
    large: list[tuple[bytes, bytes]] = []

    def without_large(value: Any) -> Any:
        if type(value) is not bytes or len(value) < _LARGE:
            return value
        large.append((os.urandom(_MARK_BYTES), value))
        return large[-1][0]

    args = [without_large(value) for value in call["args"]]
    kwargs = {name: without_large(value) for name, value in call["kwargs"].items()}
    if not large:
        return [pack(call)]
    rest = msgpack.packb({**call, "args": args, "kwargs": kwargs}, use_bin_type=True)
    pieces: list[bytes] = []
    for mark, body in large:  # in the order of the arguments, as packed
        before, _, rest = rest.partition(_BIN8 + mark)
        pieces += [before + _BIN32.pack(0xC6, len(body)), body]
    pieces.append(rest)
    size = sum(map(len, pieces))
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"{size:,} bytes are over the frame limit of {MAX_FRAME_BYTES:,}")
    return [HEADER.pack(size) + pieces[0], *pieces[1:]]


def pack_blob(media_type: str, body: bytes) -> bytes:
    """Return the data of a blob extension: one length byte, the media type, the body."""
    name = media_type.encode("ascii")
    return bytes([len(name)]) + name + body


def unpack_blob(data: bytes) -> tuple[str, bytes]:
    """Return media type and body. Raises ValueError for anything malformed."""
    if not data or len(data) < 1 + data[0]:
        raise ValueError("a malformed blob")
    return data[1 : 1 + data[0]].decode("ascii"), data[1 + data[0] :]
