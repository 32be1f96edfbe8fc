"""What the host holds of large calls and answers, of all guests together, and who waits for room.

A guest by itself is bounded (see calls.py); this bounds what many of them can make the host hold.
Whatever is small is not counted and never waits, so that nobody's large calls stop it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

#: What is larger than this, in bytes, is counted.
LARGE: Final = 128 * 1024
#: A guest has this long to move a large frame, and longer by what a busy machine takes for it.
_MOVE_S: Final = 5.0
_SLOWEST_BYTES_PER_S: Final = 4_000_000
#: The largest buffer that is kept, and for how long.
_MAX_SPARE_BYTES: Final = 16 * 1024 * 1024
_KEEP_S: Final = 5.0


class Memory:
    """So many bytes, for the workers of one pool and their event loop."""

    def __init__(self, max_bytes: int) -> None:
        #: Bytes that are held now. A frame that was read may take more of them than it announced,
        #: so this may be over the limit by one frame.
        self.held = 0
        #: Where the workers receive; what is in it is used before another event is handled.
        self.scratch = memoryview(bytearray(2 * LARGE))
        self._spare = bytearray()
        self._spare_used_at = 0.0
        self._max = max_bytes
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def is_wanted(self) -> bool:
        """True while somebody waits for room."""
        return bool(self._waiting)

    def take(self, size: int) -> None:
        """Count bytes that are there already."""
        self.held += size

    def give_back(self, size: int) -> None:
        """Count bytes no more; who waits first gets room first."""
        self.held -= size
        while self._waiting and self._fits(self._waiting[0][1]):
            future, wanted = self._waiting.popleft()
            if not future.cancelled():
                self.held += wanted
                future.set_result(None)

    def request(self, size: int) -> asyncio.Future[None] | None:
        """Take room for bytes to come: at once (None), or once the future is done.

        Whoever cancels the future has taken nothing, unless it was done already.
        """
        if self._fits(size) and not self._waiting:
            self.held += size
            return None
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((future, size))
        future.add_done_callback(self._look_again)
        return future

    async def room(self, size: int) -> None:
        """Take room for bytes to come, and wait for it where there is none."""
        future = self.request(size)
        if future is None:
            return
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():  # it was granted at this very moment
                self.give_back(size)
            raise

    def buffer(self, size: int) -> bytearray:
        """Return a buffer of ``size`` bytes or more, from its last user where it can be.

        A fresh one costs more than to receive into it: the kernel clears each of its pages.
        """
        spare, self._spare = self._spare, bytearray()
        return spare if len(spare) >= size else bytearray(size)

    def keep(self, buffer: bytearray) -> None:
        """Keep a buffer for its next user, for a short while."""
        if len(self._spare) < len(buffer) <= _MAX_SPARE_BYTES:
            self._spare = buffer
            self._spare_used_at = time.monotonic()

    def drop_unused(self) -> None:
        """Let go of a buffer that nobody has used for some seconds."""
        if time.monotonic() - self._spare_used_at > _KEEP_S:
            self._spare = bytearray()

    def _fits(self, size: int) -> bool:
        # One by itself always does, so that nobody waits for ever.
        return self.held <= 0 or self.held + size <= self._max

    def _look_again(self, future: asyncio.Future[None]) -> None:
        """One that waited is gone: those behind it may fit."""
        if future.cancelled():
            self._waiting = deque(one for one in self._waiting if one[0] is not future)
            self.give_back(0)


class Movement:
    """A large frame on its way from or to a guest, and the memory that it has."""

    def __init__(self, memory: Memory, size: int) -> None:
        self._memory = memory
        self._size = size
        self._due = time.monotonic() + _MOVE_S + size / _SLOWEST_BYTES_PER_S

    @property
    def is_overdue(self) -> bool:
        """True where the guest has had more time for it than any machine takes."""
        return time.monotonic() > self._due

    def end(self) -> None:
        """Give the memory back."""
        self._memory.give_back(self._size)
        self._size = 0
