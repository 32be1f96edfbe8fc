"""One session: its worker, its queue, and the truth about its variables."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from py_code_mode.errors import CodeModeError, SessionBusyError, SessionClosedError
from py_code_mode.models import Event, Limits, RunResult, SessionId, SessionState
from py_code_mode.services.registry import Services
from py_code_mode.sessions.authority import SessionAuthority
from py_code_mode.sessions.records import SessionRecords
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker
from py_code_mode.workers.turn import Outcome

log = logging.getLogger(__name__)

#: How late a session may notice that another process has changed the list of packages.
_PACKAGES_AGE_S: Final = 1.0
#: Another replica may have run a session that this one has not run for so long.
_ALONE_S: Final = 0.25
#: An answer waits so long for what the store says of other replicas.
_ELSEWHERE_WAITS_S: Final = 0.25
#: A run that takes longer is known to other replicas.
_TOLD_AFTER_S: Final = 0.25
#: Code that may start programs, of its own or a skill's; its jail starts beside it.
_MAY_CALL_TOOLS: Final = re.compile(r"tools|skills")


class LiveSession:
    """Runs one thing at a time on a worker that is its own, and says when variables were lost."""

    def __init__(
        self,
        session_id: SessionId,
        *,
        pool: Pool,
        services: Services,
        limits: Limits,
        records: SessionRecords | None = None,
        is_new: bool = False,
    ) -> None:
        """Prepare a session. ``is_new`` where nobody can know the id: no record is looked for."""
        self.id = session_id
        self.last_used = time.monotonic()
        #: True where another replica may have variables of the session too.
        self.roamed = False
        self._pool = pool
        self._services = services
        self._limits = limits
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._generation = 0
        self._lost = False
        self._closed = False
        self._records = records
        self._recorded = False
        self._remembered = is_new or records is None

    @property
    def occupied(self) -> bool:
        """True while a worker is held."""
        return self._worker is not None and self._worker.alive

    @property
    def waiting(self) -> int:
        """How many runs wait for the one before them."""
        return self._waiting

    @property
    def busy(self) -> bool:
        """True while something runs or waits to run."""
        return self._turn.locked() or self._waiting > 0

    async def run(
        self,
        code: str,
        *,
        timeout_s: float,
        on_event: Callable[[Event], None] | None = None,
    ) -> RunResult:
        """Run code after whatever was asked before it.

        Raises SessionBusyError, SessionClosedError, WorkerStartError.
        """
        async with self._in_turn():
            await self._remember()
            worker = await self._own_worker()
            if self._services.tools.known and _MAY_CALL_TOOLS.search(code):
                self._pool.warm(worker)
            await self._services.deps.current(max_age_s=_PACKAGES_AGE_S)
            lost, self._lost = self._lost, False
            elsewhere = self._ask_elsewhere()
            name = f"<run {self._generation + 1}>"
            with self._telling(elsewhere):
                outcome = await worker.run(code, name=name, timeout_s=timeout_s, on_event=on_event)
            self._generation += 1
            if outcome.crash is not None:
                lost = True
                self._let_go(outcome.crash.cause)
            if elsewhere is not None and await self._was_elsewhere(elsewhere):
                lost, self._recorded, self.roamed = True, False, True
            await self._record()
            return self._result(outcome, timeout_s, lost=lost)

    def interrupt(self) -> bool:
        """Stop the run under way, variables kept where Python can stop; False when idle."""
        return self._worker is not None and self._worker.interrupt()

    async def reset(self) -> None:
        """Forget variables and folder; a run under way is ended first."""
        if self._worker is not None:
            self._let_go("closed")
        async with self._in_turn(in_queue=False):
            self._let_go("closed")
            self._generation = 0
            self._lost = False
            # Whoever runs something in it next may be another replica.
            self._remembered, self._recorded, self.roamed = self._records is None, False, False
            if self._records is not None:
                await self._records.remove(self.id)

    def vacate(self) -> None:
        """Give the worker up; the next run is told that the variables are lost."""
        if self._worker is not None:
            self._lost = self._lost or self._generation > 0
            self._let_go("closed")

    def close(self) -> None:
        """End the session for good; whoever waits for it gets SessionClosedError."""
        self._closed = True
        self._let_go("closed")

    def forget(self) -> None:
        """Close the session, and leave no record of what still runs in it."""
        self._records = None
        self.close()

    async def _remember(self) -> None:
        """Look once whether the session had runs elsewhere: then its variables are lost here."""
        if self._remembered or self._records is None:
            return
        record = await self._records.load(self.id)
        if record is not None:
            self._generation, self._lost, self.roamed = record.generation, True, True
        self._remembered = True

    def _ask_elsewhere(self) -> asyncio.Task[bool] | None:
        """Ask, while the code runs, whether another replica has run the session since this did."""
        alone = time.monotonic() - self.last_used < _ALONE_S
        if self._records is None or not self._recorded or alone:
            return None
        return asyncio.create_task(self._records.is_elsewhere(self.id))

    @contextmanager
    def _telling(self, asked: asyncio.Task[bool] | None) -> Iterator[None]:
        """Let other replicas know of a run that takes its time, so that they can be asked of it."""

        def tell() -> None:
            if self._records is not None and (asked is None or asked.done()):
                self._records.save_soon(self.id, self._generation)

        timer = asyncio.get_running_loop().call_later(_TOLD_AFTER_S, tell)
        try:
            yield
        finally:
            timer.cancel()

    async def _was_elsewhere(self, asked: asyncio.Task[bool]) -> bool:
        done, _ = await asyncio.wait({asked}, timeout=_ELSEWHERE_WAITS_S)
        asked.cancel()
        return bool(done) and asked.result()

    async def _record(self) -> None:
        if self._records is None:
            return
        if self._recorded:
            self._records.save_soon(self.id, self._generation)
            return
        try:
            await self._records.save(self.id, self._generation)
            self._recorded = True
        except CodeModeError as error:  # what ran has run, and is told
            log.warning("the record of session %s is late: %s", self.id, error.message)
            self._records.save_soon(self.id, self._generation)

    def _let_go(self, cause: str) -> None:
        if self._worker is not None:
            self._pool.discard(self._worker, cause)
            self._worker = None

    @asynccontextmanager
    async def _in_turn(self, *, in_queue: bool = True) -> AsyncIterator[None]:
        """Wait for the others; ``in_queue`` where so many may wait and no more."""
        if in_queue and self.busy and self._waiting >= self._limits.max_queue:
            raise SessionBusyError(
                f"session {self.id} is busy and has {self._waiting} runs waiting, as many as may;"
                " try again when one has ended, or use another session"
            )
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            if self._closed:
                raise SessionClosedError(f"session {self.id} was closed")
            yield
        finally:
            self.last_used = time.monotonic()
            self._turn.release()

    async def _own_worker(self) -> Worker:
        if self._worker is not None and not self._worker.alive:
            crash = await self._worker.died()
            log.warning("session %s lost its variables between runs: %s", self.id, crash.message)
            self.vacate()
        if self._worker is None:
            worker = await self._pool.checkout()
            jail = self._pool.jails.of(worker)
            worker.bind(SessionAuthority(self._services, worker, jail, self.id))
            self._worker = worker
        return self._worker

    def _result(self, outcome: Outcome, timeout_s: float, *, lost: bool) -> RunResult:
        error, error_type = _verdict(outcome, timeout_s)
        return RunResult(
            value=outcome.value,
            stdout=outcome.stdout,
            stderr=outcome.stderr,
            error=error,
            error_type=error_type,
            execution_time_ms=round(outcome.elapsed_s * 1000, 3),
            session_id=self.id,
            state=SessionState(generation=self._generation, lost=lost),
            displays=outcome.displays,
            truncated=outcome.truncated,
        )


def _verdict(outcome: Outcome, timeout_s: float) -> tuple[str | None, str | None]:
    """Return error text and type as the model should see them."""
    crash = outcome.crash
    if crash is not None and crash.timed_out:
        text = (
            f"ExecutionTimeoutError: the code ran longer than {timeout_s:g} s and could not be"
            " interrupted. Its process was killed; variables, imports and files of this session"
            " are lost, skills and artifacts are kept."
        )
        return text, "ExecutionTimeoutError"
    if crash is not None:
        text = (
            f"WorkerCrashed: {crash.message} Variables, imports and files of this session are lost,"
            " skills and artifacts are kept."
        )
        return text, "WorkerCrashed"
    if outcome.error is not None and outcome.timed_out:
        text = (
            f"{outcome.error}\nExecutionTimeoutError: the code ran longer than {timeout_s:g} s and"
            " was interrupted; variables are kept."
        )
        return text, "ExecutionTimeoutError"
    return outcome.error, outcome.error_type
