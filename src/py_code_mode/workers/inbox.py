"""What a guest has sent and nobody has taken yet: whole frames, and the one that is coming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from py_code_mode.workers.frames import ViolationError
from py_code_mode.workers.memory import LARGE, Memory, Movement
from py_code_mode_guest.wire import HEADER, MAX_FRAME_BYTES


class Inbox:
    """Frames as they come in. Small ones are read many at once into a buffer that all share.

    A large frame is read into a buffer of its own, without a copy, and not before there is memory
    for it; ``pause`` is told when nothing is to be read until then, and when it is again.
    """

    def __init__(self, memory: Memory, *, pause: Callable[[bool], None]) -> None:
        self._memory = memory
        self._pause = pause
        self._rest = b""  # of what was received: the beginning of a frame
        self._coming: _Coming | None = None  # a large frame
        self._request: asyncio.Future[None] | None = None  # of memory for one,
        self._wanted = 0  # which has so many bytes

    @property
    def is_waiting(self) -> bool:
        """True until there is memory for the frame that is coming."""
        return self._request is not None

    @property
    def is_overdue(self) -> bool:
        """True where the guest has announced a large frame and does not send it."""
        return self._coming is not None and self._coming.is_overdue

    def buffer(self) -> memoryview:
        """Return where the next bytes go."""
        if self._coming is not None:
            return self._coming.missing
        scratch, start = self._memory.scratch, len(self._rest)
        if not start:
            return scratch
        scratch[:start] = self._rest
        return scratch[start:]

    def frames(self, count: int) -> Iterable[memoryview]:
        """Return the body of each whole frame after ``count`` bytes went into the buffer.

        A body is valid until the next one is asked for. Raises ViolationError for one over the
        limit, as soon as it is announced.
        """
        # By far the most are one frame: nothing before it, nothing after it.
        if self._coming is None and not self._rest and count > HEADER.size:
            scratch = self._memory.scratch
            if HEADER.size + HEADER.unpack_from(scratch)[0] == count:
                return (scratch[HEADER.size : count],)
        return self._in_order(count)

    def _in_order(self, count: int) -> Iterator[memoryview]:
        if self._coming is not None:
            if self._coming.is_whole_with(count):
                yield self._coming.body
                self._drop_frame()
            return
        received = self._memory.scratch[: len(self._rest) + count]
        at = 0
        while (end := _end_of_frame(received, at)) <= len(received):
            yield received[at + HEADER.size : end]
            at = end
        self._rest = bytes(received[at:])
        if end - at > LARGE:
            self._expect(end - at - HEADER.size)

    def close(self) -> None:
        """Forget what is there, and give back the memory that it has."""
        self._rest = b""
        if self._request is not None:
            if not self._request.cancel():
                self._memory.give_back(self._wanted)
            self._request = None
        self._drop_frame()

    def _expect(self, size: int) -> None:
        """Make a buffer for a large frame, now or when there is memory for it."""
        self._wanted = size
        self._request = self._memory.request(size)
        if self._request is None:
            self._make_frame()
            return
        self._pause(True)  # noqa: FBT003 - one word either way
        self._request.add_done_callback(self._granted)

    def _granted(self, request: asyncio.Future[None]) -> None:
        if request is self._request and not request.cancelled():
            self._request = None
            self._make_frame()
            self._pause(False)  # noqa: FBT003 - one word either way

    def _make_frame(self) -> None:
        self._coming = _Coming(self._memory, self._wanted, self._rest[HEADER.size :])
        self._rest = b""

    def _drop_frame(self) -> None:
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.end()


class _Coming(Movement):
    """A large frame on its way in, of whose body the beginning is there."""

    def __init__(self, memory: Memory, size: int, beginning: bytes) -> None:
        super().__init__(memory, size)
        self._buffer = memory.buffer(size)
        self._filled = len(beginning)
        self.body = memoryview(self._buffer)[:size]
        self.body[: self._filled] = beginning

    @property
    def missing(self) -> memoryview:
        """Where the next bytes go."""
        return self.body[self._filled :]

    def is_whole_with(self, count: int) -> bool:
        """Count what went there, and tell whether that was the last of it."""
        self._filled += count
        return self._filled == len(self.body)

    def end(self) -> None:
        """Give the memory back, and the buffer to its next user."""
        super().end()
        self._memory.keep(self._buffer)


def _end_of_frame(received: memoryview, at: int) -> int:
    """Return where the frame at ``at`` ends; beyond ``received`` where its header is missing."""
    if len(received) - at < HEADER.size:
        return len(received) + 1
    size: int = HEADER.unpack_from(received, at)[0]
    if size > MAX_FRAME_BYTES:
        raise ViolationError(f"a frame of {size:,} bytes")
    return at + HEADER.size + size
