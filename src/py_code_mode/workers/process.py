"""A worker process as the host sees it: one socket, one authority, one turn at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final, cast

from py_code_mode.errors import WorkerCrashed, WorkerStartError
from py_code_mode.models import Event, Limits
from py_code_mode.workers import frames
from py_code_mode.workers.authority import Authority
from py_code_mode.workers.broker import Broker
from py_code_mode.workers.calls import Calls
from py_code_mode.workers.frames import ViolationError
from py_code_mode.workers.obituary import obituary
from py_code_mode.workers.turn import Outcome, Turn
from py_code_mode_guest.wire import MAX_FRAME_BYTES

log = logging.getLogger(__name__)

_EXIT_CODE_WAIT_S: Final = 0.25
_WRITE_BUFFER: Final = 1024 * 1024
#: More than a socket's buffers hold.
_LAST_READS, _LAST_CHUNK = 16, 256 * 1024
#: What a frame of output or an answer may have beside the output itself.
_ANSWER_BYTES: Final = 256 * 1024


class Worker(asyncio.Protocol):
    """One worker. Made by the pool; given an authority once, when a session takes it."""

    def __init__(
        self, worker_id: int, folder: str, *, limits: Limits, send_signal: Callable[[int], None]
    ) -> None:
        self.id = worker_id
        self.folder = folder
        self.pid = 0
        #: Connects for agent code; None where the operator allows no connections.
        self.broker: Broker | None = None
        self.last_answer = time.monotonic()
        self._limits = limits
        self._send_signal = send_signal
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._death: asyncio.Future[WorkerCrashed] = self._loop.create_future()
        self._cause: str | None = None
        self._pidfd: int | None = None
        self._calls = Calls(
            limits.max_pending_calls,
            write=self._write,
            full=lambda full: self._pause("calls") if full else self._resume("calls"),
        )
        self._turn: Turn | None = None
        self._received = bytearray()
        self._paused: set[str] = set()
        self._runs = 0
        self._late_output = 4 * limits.max_output_bytes

    async def attach(self, pid: int, pidfd: int) -> None:
        """Watch the process and wait until it is confined. Raises WorkerStartError."""
        self.pid, self._pidfd = pid, pidfd
        self._loop.add_reader(pidfd, self._on_pidfd)
        await self._ready

    def bind(self, authority: Authority) -> None:
        """Hand the worker to a session: from here on it acts with this authority only."""
        self._calls.authority = authority
        self._write(frames.open_frame(authority.describe()))

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return not self._death.done()

    @property
    def cause(self) -> str:
        """Why the process has ended; ``unknown`` while it lives."""
        return self._death.result().cause if self._death.done() else "unknown"

    @property
    def busy(self) -> bool:
        """True while a run is under way."""
        return self._turn is not None

    @property
    def runs(self) -> int:
        """How many runs there were, the one under way included."""
        return self._runs

    def time_left(self) -> float:
        """Return the seconds until the deadline of the run under way; 0 where there is none."""
        return self._turn.time_left() if self._turn is not None else 0.0

    async def died(self) -> WorkerCrashed:
        """Wait for the end of the process and return what is known of it."""
        return await asyncio.shield(self._death)

    async def run(
        self,
        code: str,
        *,
        name: str,
        timeout_s: float,
        on_event: Callable[[Event], None] | None = None,
    ) -> Outcome:
        """Run code to its end, of whichever kind. A cancelled caller interrupts the run first."""
        self._runs += 1
        self._turn = turn = Turn(
            self._runs,
            timeout_s=timeout_s,
            grace_s=self._limits.interrupt_grace_s,
            max_output_bytes=self._limits.max_output_bytes,
            send_signal=self._send_signal,
            kill=self.kill,
            on_event=on_event,
        )
        if self._death.done():
            turn.fail(self._death.result())
        else:
            self._start_run(turn.id, code, name)
        try:
            return await turn.wait()
        except asyncio.CancelledError:
            turn.interrupt()
            # Some cancel again and again; the turn ends all the same, if need be with the worker.
            while not turn.ended:
                with contextlib.suppress(asyncio.CancelledError):
                    await turn.wait()
            raise
        finally:
            self._turn = None
            self.last_answer = time.monotonic()
            # A run's calls end with it.
            self._calls.end()

    def interrupt(self) -> bool:
        """Stop the run under way; returns False where there is none."""
        if self._turn is None or self._turn.ended:
            return False
        self._turn.interrupt()
        return True

    def kill(self, cause: str) -> None:
        """End the process at once; ``cause`` is told to whoever waits for it."""
        if self._cause is None:
            self._cause = cause
        if self.alive:
            self._send_signal(signal.SIGKILL)

    def on_exit(self, exit_code: int | None) -> None:
        """The process has ended (told by its zygote, or because that ended)."""
        if self._death.done():
            return
        self._take_last_words()
        cause = self._cause or ("exited" if (exit_code or 0) >= 0 else "killed")
        crash = WorkerCrashed(
            obituary(cause, exit_code),
            exit_code=exit_code,
            timed_out=cause == "timeout",
            cause=cause,
        )
        self._death.set_result(crash)
        self._release()
        if not self._ready.done():
            self._ready.set_exception(WorkerStartError(crash.message))
            self._ready.exception()  # nobody may be waiting for it any more
        if self._turn is not None:
            self._turn.fail(crash)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # every loop has its own class
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while (frame := self._next_frame()) is not None:
                self._take(frame)
        except ViolationError as violation:
            log.warning("worker %d (pid %d) sent %s: killed", self.id, self.pid, violation)
            self._received.clear()
            self._transport.pause_reading()
            self.kill("violation")

    def _next_frame(self) -> frames.Frame | None:
        said = 4 * self._limits.max_output_bytes + _ANSWER_BYTES
        return frames.take_frame(self._received, MAX_FRAME_BYTES, said)

    def connection_lost(self, _exc: Exception | None) -> None:
        # A guest that closes its only socket is of no further use, alive or not.
        self.kill("exited")
        self._loop.call_later(_EXIT_CODE_WAIT_S, self.on_exit, None)

    def pause_writing(self) -> None:
        # A guest that does not read its replies is not read either, nor is more done for it.
        self._calls.writable.clear()
        self._pause("writing")

    def resume_writing(self) -> None:
        self._calls.writable.set()
        self._resume("writing")

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Call():
                self._calls.start(frame, self._turn)
            case frames.Done():
                if self._cause is None:  # else it is being killed, and its variables with it
                    self._running_turn("an answer").finish(frame)
            case frames.Output(parts):
                self._output(parts)
            case frames.Display(bundle):
                self._running_turn("a display").take_display(bundle)
            case _:
                self._started(frame)

    def _running_turn(self, what: str) -> Turn:
        if self._turn is None or self._turn.ended:
            raise ViolationError(f"{what} outside of a run")
        return self._turn

    def _started(self, frame: frames.Ready | frames.Failed) -> None:
        if self._ready.done():
            raise ViolationError("a second start")
        if isinstance(frame, frames.Failed):
            reason = f"a worker could not start: {frame.reason}"
            self._ready.set_exception(WorkerStartError(reason))
        else:
            self._ready.set_result(None)

    def _output(self, parts: list[tuple[str, str]]) -> None:
        if self._turn is not None and not self._turn.ended:
            self._turn.take_output(parts)
            return
        self._late_output -= sum(len(text) for _, text in parts)
        if self._late_output < 0:
            raise ViolationError("a flood of output outside of a run")

    def _start_run(self, run_id: int, code: str, name: str) -> None:
        news = self._calls.news()
        most = self._limits.max_output_bytes
        self._write(frames.run_frame(run_id, code, name, most, packages=news))
        self._calls.told(news)

    def _write(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame)

    def _pause(self, reason: str) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused.add(reason)

    def _resume(self, reason: str) -> None:
        self._paused.discard(reason)
        if not self._paused and not self._transport.is_closing() and self._cause != "violation":
            self._transport.resume_reading()

    def _on_pidfd(self) -> None:
        """The process has ended; its zygote is about to say with which exit code."""
        self._close_pidfd()
        self._loop.call_later(_EXIT_CODE_WAIT_S, self.on_exit, None)

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _take_last_words(self) -> None:
        """Read what the process sent before it ended: its end may be told before that is read."""
        if not hasattr(self, "_transport") or self._transport.is_closing():
            return
        fd = self._transport.get_extra_info("socket").fileno()
        for _ in range(_LAST_READS):  # whatever still lives does not keep us here
            try:
                data = os.read(fd, _LAST_CHUNK)
            except (BlockingIOError, ConnectionError):
                return
            if not data:
                return
            self.data_received(data)

    def _release(self) -> None:
        self._close_pidfd()
        self._received.clear()
        self._calls.end()
        if self.broker is not None:
            self.broker.close()
        if hasattr(self, "_transport"):
            self._transport.abort()
