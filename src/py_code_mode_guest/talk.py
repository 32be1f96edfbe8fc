"""Talking to a program: its input in, its output out, within a deadline and a limit."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_CHUNK: Final = 64 * 1024
#: For so long a program is left alone: what most say fits their pipes, and each wake-up costs.
_QUIET_S: Final = 0.005
#: How long output may still come from pipes after the group was killed.
_DRAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A descriptor that is looked after while a program runs: ``read`` is called when it has data.

    Whatever ``read`` does must not wait.
    """

    fd: int
    read: Callable[[], None]


@dataclass(slots=True)
class Pipes:
    """Our ends, and the program's, of the three standard streams."""

    stdin: int | None
    stdout: int
    stderr: int
    theirs: list[int]
    ours: set[int] = field(default_factory=set)

    def close_theirs(self) -> None:
        """Close the program's ends, once it has them."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def close(self, fd: int) -> None:
        """Close one of ours."""
        if fd in self.ours:
            self.ours.discard(fd)
            os.close(fd)


@contextmanager
def open_pipes(*, with_input: bool) -> Iterator[Pipes]:
    """Open the pipes of one program; without input it reads from nothing."""
    made: list[int] = []
    try:
        made += os.pipe() if with_input else [os.open(os.devnull, os.O_RDONLY)]
        made += [*os.pipe(), *os.pipe()]
    except OSError:
        for fd in made:
            os.close(fd)
        raise
    our_out, their_out, our_err, their_err = made[-4:]
    our_in = made[1] if with_input else None
    if our_in is not None:
        os.set_blocking(our_in, False)
    pipes = Pipes(our_in, our_out, our_err, [made[0], their_out, their_err])
    pipes.ours = {fd for fd in (our_in, our_out, our_err) if fd is not None}
    try:
        yield pipes
    finally:
        pipes.close_theirs()
        for fd in list(pipes.ours):
            pipes.close(fd)


class Talk:
    """Feeds a program its input and takes its output, up to a limit and a deadline."""

    def __init__(
        self,
        pipes: Pipes,
        stdin: bytes,
        max_bytes: int,
        deadline: float,
        watched: Watched | None = None,
    ) -> None:
        self._pipes = pipes
        self._watched = watched
        self._input = memoryview(stdin)
        self._left = max_bytes
        self._deadline = deadline
        self._poll = self._new_poll()
        self._poll.register(pipes.stdout, select.POLLIN)
        self._poll.register(pipes.stderr, select.POLLIN)
        if pipes.stdin is not None:
            self._poll.register(pipes.stdin, select.POLLOUT)
        self.output = {pipes.stdout: bytearray(), pipes.stderr: bytearray()}
        self.timed_out = False
        self.truncated = False

    def until_exit(self, pid: int) -> None:
        """Talk until the program ends, its time is up, or it said too much."""
        pidfd = os.pidfd_open(pid)
        try:
            if not self._ends_quietly(pidfd):
                self._talk(pidfd)
        finally:
            os.close(pidfd)

    def _talk(self, pidfd: int) -> None:
        self._poll.register(pidfd, select.POLLIN)
        try:
            while not self.truncated:
                ready = self._wait()
                if not ready:
                    self.timed_out = True
                    return
                for fd, _ in ready:
                    if fd != pidfd:
                        self._serve(fd)
                if any(fd == pidfd for fd, _ in ready):
                    return
        finally:
            self._poll.unregister(pidfd)

    def _ends_quietly(self, pidfd: int) -> bool:
        """Wait for nothing but the end, for a moment; True where it has come."""
        if self._pipes.stdin is not None:
            return False
        poll = self._new_poll()
        poll.register(pidfd, select.POLLIN)
        until = min(time.monotonic() + _QUIET_S, self._deadline)
        while (left := until - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                if fd == pidfd:
                    return True
                self._serve(fd)
        return False

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        if self._watched is not None:
            poll.register(self._watched.fd, select.POLLIN)
        return poll

    def drain(self) -> None:
        """Take what is left in the pipes; everything that could write is dead or dying."""
        self._deadline = time.monotonic() + _DRAIN_S
        if self._pipes.stdin is not None:
            self._end(self._pipes.stdin)
        while not self.truncated and self._pipes.ours:
            ready = self._wait()
            if not ready:
                return
            for fd, _ in ready:
                self._serve(fd)

    def _wait(self) -> list[tuple[int, int]]:
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                return []
            # Rounded up: a poll that returns early is only asked again.
            ready = self._poll.poll(min(left, 3600) * 1000 + 1)
            if ready:
                return ready

    def _serve(self, fd: int) -> None:
        if self._watched is not None and fd == self._watched.fd:
            self._watched.read()
            return
        if fd == self._pipes.stdin:
            self._feed(fd)
            return
        data = os.read(fd, _CHUNK)
        if not data:
            self._end(fd)
            return
        self.output[fd] += data[: self._left]
        self._left -= len(data)
        self.truncated = self._left < 0

    def _feed(self, fd: int) -> None:
        try:
            self._input = self._input[os.write(fd, self._input[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._input = self._input[:0]  # the program does not want the rest
        if not self._input:
            self._end(fd)

    def _end(self, fd: int) -> None:
        if fd in self._pipes.ours:
            self._poll.unregister(fd)
            self._pipes.close(fd)
