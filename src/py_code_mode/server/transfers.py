"""Files on their way in and out: in pieces, and no more of them at once than there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from py_code_mode.errors import CapacityError
from py_code_mode.store.base import ArtifactStore, OpenArtifact

#: Files that come in at once where the store streams: each takes disk until it is whole.
_PLACES: Final = 8
#: Who finds no room waits so long for it, and is then told to come back after so long.
_WAIT_S: Final = 5.0
_RETRY_AFTER_S: Final = 5.0


class Transfers:
    """Bounds what files take together. ``max_bytes`` is the largest that may come.

    Where the store does not stream, their bytes are counted: all that come in have no more at once
    than one of the largest, and so have all that go out.
    """

    def __init__(self, artifacts: ArtifactStore, *, max_bytes: int) -> None:
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._incoming = _Room(_PLACES if artifacts.streams else max_bytes)
        self._outgoing = _Room(max_bytes)

    def receiving(self, size: int) -> AbstractAsyncContextManager[None]:
        """Have room for a file that comes in, of ``size`` bytes, or 0 where nobody knows.

        Raises CapacityError where there is none.
        """
        if self._artifacts.streams:
            return self._incoming.taken(1)
        return self._incoming.taken(size or self._max_bytes)

    @asynccontextmanager
    async def sending(self, name: str) -> AsyncIterator[OpenArtifact]:
        """Open an artifact. Raises as the store does, and CapacityError where there is no room."""
        if self._artifacts.streams:
            async with self._artifacts.sending(name) as opened:
                yield opened
            return
        size = (await self._artifacts.get(name)).size
        async with self._outgoing.taken(size), self._artifacts.sending(name) as opened:
            yield opened


class _Room:
    """So much of something; whoever needs more than is left waits a little."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, amount: int) -> AsyncIterator[None]:
        amount = min(amount, self._total)
        try:
            async with asyncio.timeout(_WAIT_S):
                while self._left < amount:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise CapacityError(
                "too many files are on their way now; try again when some have come through",
                retry_after_s=_RETRY_AFTER_S,
            ) from None
        self._left -= amount
        try:
            yield
        finally:
            self._left += amount
            self._freed.set()
