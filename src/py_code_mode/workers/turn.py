"""A turn: one run on one worker, from its first frame to its answer or its end."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from py_code_mode.errors import WorkerCrashed
from py_code_mode.models import Event
from py_code_mode.workers.frames import Bundle, Done, ViolationError
from py_code_mode_guest.wire import DISPLAY_COST

_REPEAT_S: Final = 0.1


@dataclass(slots=True)
class Outcome:
    """What a turn came to. ``crash`` is set where the worker died instead of answering."""

    value: Any = None
    error_type: str | None = None
    error: str | None = None
    stdout: str = ""
    stderr: str = ""
    displays: list[Bundle] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    timed_out: bool = False
    crash: WorkerCrashed | None = None


class Turn:
    """Collects what a run says, and sees that it ends: deadline, interrupt, kill.

    At the deadline the worker gets SIGINT, again every 100 ms, which keeps the variables wherever
    Python can stop; after ``grace_s`` it is killed. The calls that are under way at the second one
    are ended, and no later ones: what cleans up after an interrupt may call.
    """

    def __init__(
        self,
        run_id: int,
        *,
        timeout_s: float,
        grace_s: float,
        max_output_bytes: int,
        send_signal: Callable[[int], None],
        kill: Callable[[str], None],
        end_calls: Callable[[], None],
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.id = run_id
        #: What the run was started in; its calls are done in it too.
        self.context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._grace_s = grace_s
        self._room = 4 * max_output_bytes
        self._send_signal = send_signal
        self._kill = kill
        self._end_calls = end_calls
        self._calls_ended = False
        self._on_event = on_event
        self._started = time.perf_counter()
        self._text: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._outcome = Outcome()
        self._waiter: asyncio.Future[None] | None = None
        self.ended = False
        #: Whether signals were sent, which may still be on their way when it has ended.
        self.was_signalled = False
        self._timer = self._loop.call_later(timeout_s, self._expire)
        self._deadline = self._loop.time() + timeout_s

    async def wait(self) -> Outcome:
        """Return the outcome once the run has ended, one way or the other."""
        if not self.ended:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._outcome

    def time_left(self) -> float:
        """Return the seconds until the deadline, never less than 0."""
        return max(0.0, self._deadline - self._loop.time())

    def interrupt(self) -> None:
        """Stop the run as its deadline would."""
        self._timer.cancel()
        self._press(self._loop.time() + self._grace_s, "interrupt")

    def take_output(self, parts: list[tuple[str, str]]) -> None:
        """Take printed text; a guest that sends more than it may is a violator."""
        for stream, text in parts:
            self._spend(len(text))
            self._text[stream].append(text)
            self.emit(Event(stream, {"text": text}))

    def take_display(self, bundle: Bundle) -> None:
        """Take one display."""
        self._spend(DISPLAY_COST + sum(len(k) + len(data) for k, data in bundle.items()))
        self._outcome.displays.append(bundle)
        self.emit(Event("display", {"bundle": bundle}))

    def emit(self, event: Event) -> None:
        """Tell whoever watches this run."""
        if self._on_event is not None:
            self._on_event(event)

    def finish(self, done: Done) -> None:
        """The guest answered."""
        if done.id != self.id:
            raise ViolationError("an answer to another run")
        self.take_output(done.parts)
        self._outcome.value = done.value
        self._outcome.error = done.error
        self._outcome.error_type = done.error_type
        self._outcome.truncated = done.truncated
        self._end()

    def fail(self, crash: WorkerCrashed) -> None:
        """The worker died; what it said until then is kept."""
        if not self.ended:
            self._outcome.crash = crash
            self._end()

    def _end(self) -> None:
        self._timer.cancel()
        self._outcome.elapsed_s = time.perf_counter() - self._started
        self._outcome.stdout = "".join(self._text["stdout"])
        self._outcome.stderr = "".join(self._text["stderr"])
        self.ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        self._outcome.timed_out = True
        self._press(self._loop.time() + self._grace_s, "timeout")

    def _press(self, until: float, cause: str, *, again: bool = False) -> None:
        if self.ended:
            return
        if self._loop.time() >= until:
            self._kill(cause)
            return
        if again and not self._calls_ended:
            # Large answers that nobody wants any more would keep the guest's own from us. Not
            # before the signal is there: an error of a call must not end the run in its place.
            self._calls_ended = True
            self._end_calls()
        self.was_signalled = True
        self._send_signal(signal.SIGINT)
        press = partial(self._press, until, cause, again=True)
        self._timer = self._loop.call_later(_REPEAT_S, press)

    def _spend(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ViolationError("more output than allowed")
