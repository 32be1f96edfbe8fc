"""The host's end of one guest's socket: frames in and out, and no more of either than has room."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final, cast

from py_code_mode.workers.frames import ViolationError
from py_code_mode.workers.inbox import Inbox
from py_code_mode.workers.memory import LARGE, Memory, Movement

_WRITE_BUFFER: Final = 1024 * 1024
#: More than a socket's buffers hold.
_LAST_READS: Final = 16


class Connection(asyncio.BufferedProtocol):
    """One connection. ``take`` gets the body of each frame, and may raise ViolationError.

    ``violated`` is told of that, after which nothing more is read, and ``lost`` when the guest has
    closed its end.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        take: Callable[[memoryview], None],
        violated: Callable[[ViolationError], None],
        lost: Callable[[], None],
    ) -> None:
        #: Cleared while the guest does not read what it was sent: nothing more is done for it then.
        self.writable = asyncio.Event()
        self.writable.set()
        self._memory = memory
        self._take = take
        self._violated = violated
        self._lost = lost
        self._inbox = Inbox(memory, pause=lambda waits: self.pause("memory", on=waits))
        self._unread: Movement | None = None
        self._paused: set[str] = set()
        self._transport: asyncio.Transport | None = None

    @property
    def is_overdue(self) -> bool:
        """True where the guest neither moves a large frame nor lets go of the memory for it."""
        sends = self._inbox.is_overdue and not self._paused
        return sends or (self._unread is not None and self._unread.is_overdue)

    def write(self, frame: bytes) -> None:
        """Send a frame, unless the guest is gone."""
        if self._transport is not None and not self._transport.is_closing():
            # A view: asyncio of Python 3.12 copies what is left of bytes with each part it sends.
            self._transport.write(memoryview(frame) if len(frame) > LARGE else frame)

    def pause(self, reason: str, *, on: bool) -> None:
        """Read nothing more for this reason, or no longer for this one."""
        was_paused = bool(self._paused)
        (self._paused.add if on else self._paused.discard)(reason)
        is_paused = bool(self._paused)
        if is_paused != was_paused and self._transport and not self._transport.is_closing():
            (self._transport.pause_reading if is_paused else self._transport.resume_reading)()

    def read_rest(self) -> None:
        """Take what a guest sent before it ended: its end may be told before that is read."""
        if self._transport is None or self._transport.is_closing() or "violation" in self._paused:
            return
        fd = self._transport.get_extra_info("socket").fileno()
        for _ in range(_LAST_READS):  # whatever still lives does not keep us here
            if self._inbox.is_waiting:
                return
            try:
                count = os.readv(fd, [self._inbox.buffer()])
            except (BlockingIOError, ConnectionError):
                return
            if not count:
                return
            self.buffer_updated(count)

    def close(self) -> None:
        """Close at once, and give back all memory."""
        self._inbox.close()
        self._end_unread()
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # every loop has its own class
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._inbox.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for body in self._inbox.frames(nbytes):
                self._take(body)
        except ViolationError as violation:
            self._inbox.close()
            self.pause("violation", on=True)
            self._violated(violation)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lost()

    def pause_writing(self) -> None:
        # A guest that does not read its replies is not read either.
        self.writable.clear()
        if self._transport is not None:
            size = self._transport.get_write_buffer_size()
            self._memory.take(size)
            self._unread = Movement(self._memory, size)
        self.pause("writing", on=True)

    def resume_writing(self) -> None:
        self.writable.set()
        self._end_unread()
        self.pause("writing", on=False)

    def _end_unread(self) -> None:
        if self._unread is not None:
            self._unread.end()
            self._unread = None
