"""Bodies in pieces: gathered until they are worth a step of their own, joined, and cut."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Final

#: A piece of a body that a thread reads or writes: large enough to be worth the way there.
PIECE_BYTES: Final = 1024 * 1024


async def gathered(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the same bytes in fewer pieces, each of PIECE_BYTES or a little more but the last."""
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


async def joined(pieces: AsyncIterable[bytes]) -> bytes:
    """Return a body whole, for a storage that has no other way."""
    body = bytearray()
    async for piece in pieces:
        body += piece
    return bytes(body)


async def cut(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body in pieces."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


async def read_in_pieces(file: io.FileIO) -> AsyncIterator[bytes]:
    """Yield what is left of an open file; threads read it."""
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece
