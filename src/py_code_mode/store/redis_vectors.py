"""Search vectors as hashes: ``<prefix>:vectors:<embedder>:<kind>`` has float16 bytes by hash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from py_code_mode.errors import CodeModeError
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.vector_space import (
    LOCK_WAIT_S,
    UNUSED_DAYS,
    VectorSpace,
    still_being_made,
)

#: Vectors per command: some 300 KB, which keeps Redis busy for a millisecond.
_AT_ONCE = 1000
_UNUSED_S = UNUSED_DAYS * 86_400
#: A holder that is gone loses the lock after this; one that lives renews it three times as often.
_LOCK_MS = 30_000
_LOCK_PAUSES_S = (0.005, 0.2)


class RedisVectors:
    """The vectors below one prefix; those of an embedder that nobody uses expire."""

    def __init__(self, link: RedisLink, keys: RedisKeys) -> None:
        self._link = link
        self._keys = keys

    async def load(self, space: VectorSpace) -> dict[bytes, bytes]:
        """Return every vector of a space. Raises StorageUnavailableError."""
        key = self._key(space)
        found: dict[bytes, bytes] = {}
        cursor: bytes | int = b"0"
        await self._link.call(b"EXPIRE", key, _UNUSED_S)
        while True:
            cursor, page = await self._link.call(
                b"HSCAN", key, cursor, b"COUNT", _AT_ONCE, key=key.decode(errors="replace")
            )
            found.update(zip(page[::2], page[1::2], strict=True))
            if int(cursor) == 0:
                return found

    async def get_many(self, space: VectorSpace, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the vectors of these hashes, those that exist. Raises StorageUnavailableError."""
        key = self._key(space)
        found: dict[bytes, bytes] = {}
        for some in _portions(list(keys)):
            values = await self._link.call(b"HMGET", key, *some, key=key.decode(errors="replace"))
            pairs = zip(some, values, strict=True)
            found.update((name, value) for name, value in pairs if value is not None)
        return found

    async def put_many(self, space: VectorSpace, vectors: Mapping[bytes, bytes]) -> None:
        """Save vectors. Raises StorageFullError, StorageUnavailableError."""
        key = self._key(space)
        for some in _portions(list(vectors)):
            pairs = [part for name in some for part in (name, vectors[name])]
            await self._link.pipeline(
                [(b"HSET", key, *pairs), (b"EXPIRE", key, _UNUSED_S)],
                key=key.decode(errors="replace"),
                size=sum(map(len, pairs)),
            )

    async def remove(self, space: VectorSpace, keys: Collection[bytes]) -> None:
        """Remove the vectors of these hashes; absent ones change nothing."""
        for some in _portions(list(keys)):
            await self._link.call(b"HDEL", self._key(space), *some)

    @asynccontextmanager
    async def lock(self, space: VectorSpace) -> AsyncIterator[None]:
        """Hold the lock of a space; it is renewed while held. Raises SearchUnavailableError."""
        key = self._keys.item("lock", f"vectors:{_name(space)}")
        end, pause_s = time.monotonic() + LOCK_WAIT_S, _LOCK_PAUSES_S[0]
        while await self._link.call(b"SET", key, b"1", b"NX", b"PX", _LOCK_MS) is None:
            if time.monotonic() > end:
                raise still_being_made(space)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOCK_PAUSES_S[1])
        renewing = asyncio.create_task(self._renew(key))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            # It may have expired and be another's by now, who then loses no more than time.
            await self._link.call(b"DEL", key)

    async def _renew(self, key: bytes) -> None:
        while True:
            await asyncio.sleep(_LOCK_MS / 3000)
            with suppress(CodeModeError):  # the next attempt may be in time
                await self._link.call(b"SET", key, b"1", b"XX", b"PX", _LOCK_MS)

    def _key(self, space: VectorSpace) -> bytes:
        return self._keys.item("vectors", _name(space))


def _name(space: VectorSpace) -> str:
    # Lone surrogates have no UTF-8.
    return f"{space.embedder}:{space.kind}".encode(errors="replace").decode()


def _portions(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
