"""A worker process as the host sees it: one socket, one authority, one turn at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

from py_code_mode.errors import WorkerCrashed, WorkerStartError
from py_code_mode.models import Event, Limits
from py_code_mode.workers import frames, outgoing
from py_code_mode.workers.authority import Authority
from py_code_mode.workers.broker import Broker
from py_code_mode.workers.calls import Calls
from py_code_mode.workers.connection import Connection
from py_code_mode.workers.frames import FrameLimits, ViolationError
from py_code_mode.workers.memory import Memory
from py_code_mode.workers.obituary import obituary
from py_code_mode.workers.turn import Outcome, Turn
from py_code_mode_guest.wire import MAX_STRUCTURE_BYTES

log = logging.getLogger(__name__)

_EXIT_CODE_WAIT_S: Final = 0.25
#: What a frame of output or an answer may have beside the output itself.
_ANSWER_BYTES: Final = 256 * 1024


class Worker:
    """One worker. Made by the pool; given an authority once, when a session takes it."""

    def __init__(
        self,
        worker_id: int,
        folder: str,
        *,
        limits: Limits,
        memory: Memory,
        send_signal: Callable[[int], None],
        delivered: Callable[[], Awaitable[object]],
    ) -> None:
        self.id = worker_id
        self.folder = folder
        self.pid = 0
        #: Connects for agent code; None where the operator allows no connections.
        self.broker: Broker | None = None
        self.last_answer = time.monotonic()
        self._limits = limits
        self._send_signal = send_signal
        self._delivered = delivered
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._death: asyncio.Future[WorkerCrashed] = self._loop.create_future()
        self._cause: str | None = None
        self._pidfd: int | None = None
        #: Its socket; whoever starts the process connects it.
        self.connection = Connection(
            memory, take=self._take_body, violated=self._violated, lost=self._lost
        )
        self._frame_limits = _frame_limits(limits)
        self._calls = Calls(
            limits.max_pending_calls,
            memory,
            write=self.connection.write,
            writable=self.connection.writable,
            full=lambda full: self.connection.pause("calls", on=full),
        )
        self._turn: Turn | None = None
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
        self.connection.write(outgoing.open_frame(authority.describe()))

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
        self._turn = turn = self._new_turn(timeout_s, on_event)
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
            # A run's calls end with it.
            self._calls.end()
            try:
                await self._until_signals_are_there(turn)
            finally:
                self._turn = None
                self.last_answer = time.monotonic()

    def _new_turn(self, timeout_s: float, on_event: Callable[[Event], None] | None) -> Turn:
        self._runs += 1
        return Turn(
            self._runs,
            timeout_s=timeout_s,
            grace_s=self._limits.interrupt_grace_s,
            max_output_bytes=self._limits.max_output_bytes,
            send_signal=self._send_signal,
            kill=self.kill,
            end_calls=self._calls.end,
            on_event=on_event,
        )

    async def _until_signals_are_there(self, turn: Turn) -> None:
        """Wait for the signals that were sent to the run: one of them would meet the next."""
        if turn.was_signalled and self.alive:
            with contextlib.suppress(WorkerStartError):  # the zygote has gone, and they with it
                await self._delivered()

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
        self.connection.read_rest()
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

    def _lost(self) -> None:
        # A guest that closes its only socket is of no further use, alive or not.
        self.kill("exited")
        self._loop.call_later(_EXIT_CODE_WAIT_S, self.on_exit, None)

    def _violated(self, violation: ViolationError) -> None:
        log.warning("worker %d (pid %d) sent %s: killed", self.id, self.pid, violation)
        self.kill("violation")

    def _take_body(self, body: memoryview) -> None:
        self._take(frames.read_frame(body, self._frame_limits))

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Call():
                self._calls.start(frame, self._turn)
            case frames.Cancel(call_id):
                self._calls.cancel(call_id)
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
        self.connection.write(outgoing.run_frame(run_id, code, name, most, packages=news))
        self._calls.told(news)

    def _on_pidfd(self) -> None:
        """The process has ended; its zygote is about to say with which exit code."""
        self._close_pidfd()
        self._loop.call_later(_EXIT_CODE_WAIT_S, self.on_exit, None)

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _release(self) -> None:
        self._close_pidfd()
        self._calls.end()
        if self.broker is not None:
            self.broker.close()
        self.connection.close()


def _frame_limits(limits: Limits) -> FrameLimits:
    answer = limits.max_output_bytes + _ANSWER_BYTES
    return FrameLimits(
        said=4 * limits.max_output_bytes + _ANSWER_BYTES,
        structure=max(MAX_STRUCTURE_BYTES, answer),
    )
