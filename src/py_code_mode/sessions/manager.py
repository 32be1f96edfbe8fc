"""The session manager: which sessions there are, and which of them hold a worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from py_code_mode.errors import (
    CapacityError,
    CodeModeError,
    CodeTooLargeError,
    InvalidArgumentError,
    InvalidSessionIdError,
    SessionClosedError,
    SessionUnknownError,
    TimeoutTooLargeError,
)
from py_code_mode.models import Event, Limits, RunResult, SessionId
from py_code_mode.services.registry import Services
from py_code_mode.sessions.live import LiveSession
from py_code_mode.sessions.others import Others, What
from py_code_mode.sessions.records import SessionRecords
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.watch import Watch

log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_EXPIRY_PERIOD_S: Final = 5.0
#: A session that was used this recently is never evicted to make room.
_EVICTABLE_AFTER_S: Final = 60.0
#: How long an expired session is remembered, so that its next run is told of the loss.
_REMEMBERED_S: Final = 24 * 3600.0


class SessionManager:
    """Owns every session of a process. Use it with ``async with``; the pool is its own too."""

    def __init__(
        self,
        *,
        pool: Pool,
        services: Services,
        limits: Limits,
        records: SessionRecords | None = None,
        others: Others | None = None,
    ) -> None:
        """Prepare a manager; with ``records`` and ``others``, other processes have sessions too."""
        self.pool = pool
        self._records = records
        self._others = others
        self.limits = limits
        self._services = services
        self._sessions: dict[SessionId, LiveSession] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._open = False

    async def __aenter__(self) -> SessionManager:
        await self.pool.__aenter__()
        watch = Watch(self.pool, self.limits)
        works: list[Callable[[], Coroutine[Any, Any, None]]]
        works = [watch.run, self._expire, self._look_at_tools]
        if self._records is not None:
            works.append(self._records.run)
        if self._others is not None:
            works.append(partial(self._answer_others, self._others))
        self._tasks = [asyncio.create_task(work()) for work in works]
        self._open = True
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._open = False
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pool.aclose()

    async def run(
        self,
        session_id: SessionId | None,
        code: str,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> RunResult:
        """Run code in a session, which is made where there is none of this id.

        Raises:
            InvalidArgumentError, CodeTooLargeError, TimeoutTooLargeError: before anything runs.
            CapacityError, SessionBusyError: when there is no room now.
        """
        self._check_code(code)
        timeout_s = self._check_timeout(timeout_s)
        session = self._get_or_create(session_id)
        try:
            return await session.run(code, timeout_s=timeout_s, on_event=on_event)
        finally:
            if self._services.tools.known:
                self.pool.start_jails_ahead()
            self.pool.refill()

    @property
    def occupied(self) -> int:
        """How many sessions hold a worker."""
        return sum(session.occupied for session in self._sessions.values())

    @property
    def waiting(self) -> int:
        """How many runs wait for the one before them."""
        return sum(session.waiting for session in self._sessions.values())

    def knows(self, session_id: SessionId) -> bool:
        """True where a session of this id has run something."""
        return session_id in self._sessions

    async def interrupt(self, session_id: SessionId) -> bool:
        """Stop the session's run, also on another replica; False when idle.

        Raises SessionUnknownError.
        """
        session = self._sessions.get(session_id)
        if session is not None and session.interrupt():
            return True
        return await self._ask_others(session_id, "interrupt")

    async def reset(self, session_id: SessionId) -> None:
        """Clear the session's variables and folder. Raises SessionUnknownError."""
        await self._ask_others(session_id, "reset")
        await self._reset_here(session_id)

    async def end(self, session_id: SessionId) -> None:
        """End the session. Raises SessionUnknownError."""
        await self._ask_others(session_id, "end")
        await self._end_here(session_id)

    async def _ask_others(self, session_id: SessionId, what: What) -> bool:
        """Have others do it where one of them may have the session too; tells whether one has.

        Raises SessionUnknownError where nobody has run anything in the session.
        """
        record = None if self._records is None else await self._records.load(session_id)
        session = self._sessions.get(session_id)
        if record is None and session is None:
            raise SessionUnknownError(f"there is no session {session_id!r}")
        if record is None or self._records is None or self._others is None:
            return False
        is_ours = record.replica == self._records.replica and not (session and session.roamed)
        return not is_ours and await self._others.ask(session_id, what)

    async def _reset_here(self, session_id: SessionId) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            await session.reset()
        elif self._records is not None:
            await self._records.remove(session_id)

    async def _end_here(self, session_id: SessionId) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.forget()
        if self._records is not None:
            await self._records.remove(session_id)

    async def _answer_others(self, others: Others) -> None:
        async def take(session_id: SessionId, what: str) -> bool:
            session = self._sessions.get(session_id)
            if session is None or what == "interrupt":
                return session is not None and session.interrupt()
            await (self._reset_here if what == "reset" else self._end_here)(session_id)
            return True

        await others.run(lambda: list(self._sessions), take)

    def _get_or_create(self, session_id: SessionId | None) -> LiveSession:
        if not self._open:
            raise SessionClosedError("the sessions are closed; open them with `async with`")
        is_new = session_id is None
        session_id = session_id or new_session_id()
        session = self._sessions.get(session_id)
        if session is None or not session.occupied:
            self._make_room()
        if session is None:
            session = LiveSession(
                session_id,
                pool=self.pool,
                services=self._services,
                limits=self.limits,
                records=self._records,
                is_new=is_new,
            )
            self._sessions[session_id] = session
        return session

    def _make_room(self) -> None:
        """Evict the session that was idle longest where all places are taken."""
        holders = [s for s in self._sessions.values() if s.occupied or s.busy]
        if len(holders) < self.limits.max_sessions:
            return
        horizon = time.monotonic() - _EVICTABLE_AFTER_S
        idle = [s for s in holders if not s.busy and s.last_used < horizon]
        if not idle:
            raise CapacityError(
                f"all {self.limits.max_sessions} sessions are in use; try again in a minute, or"
                " end one",
                retry_after_s=_EVICTABLE_AFTER_S,
            )
        victim = min(idle, key=lambda session: session.last_used)
        log.warning("session %s was evicted to make room", victim.id)
        victim.vacate()

    async def _look_at_tools(self) -> None:
        """Read the tools ahead of the first question for them."""
        with contextlib.suppress(CodeModeError):  # whoever asks is told
            await self._services.tools.list()
        if self._services.tools.known:
            self.pool.start_jails_ahead()

    async def _expire(self) -> None:
        period_s = min(_EXPIRY_PERIOD_S, self.limits.session_idle_timeout_s / 4)
        while True:
            await asyncio.sleep(period_s)
            now = time.monotonic()
            for session in list(self._sessions.values()):
                idle_s = now - session.last_used
                if session.busy or idle_s < self.limits.session_idle_timeout_s:
                    continue
                session.vacate()
                remembered_s = 0.0 if self._records is not None else _REMEMBERED_S
                if idle_s > self.limits.session_idle_timeout_s + remembered_s:
                    del self._sessions[session.id]

    def _check_code(self, code: str) -> None:
        if not isinstance(code, str):
            raise InvalidArgumentError(f"code must be text, not {type(code).__name__}")
        try:
            size = len(code.encode())
        except UnicodeEncodeError:
            raise InvalidArgumentError("code has a lone surrogate, which is no text") from None
        if size > self.limits.max_code_bytes:
            raise CodeTooLargeError(
                f"the code has {size:,} bytes and {self.limits.max_code_bytes:,} are allowed;"
                " save data as an artifact and load it instead"
            )

    def _check_timeout(self, timeout_s: float | None) -> float:
        if timeout_s is None:
            return self.limits.execution_timeout_s
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)):
            raise InvalidArgumentError(f"timeout must be a number of seconds, not {timeout_s!r}")
        if not math.isfinite(timeout_s) or timeout_s <= 0:
            raise InvalidArgumentError(f"timeout must be over 0 s, not {timeout_s!r}")
        if timeout_s > self.limits.max_execution_timeout_s:
            raise TimeoutTooLargeError(
                f"a timeout of {timeout_s:g} s is over the limit of"
                f" {self.limits.max_execution_timeout_s:g} s"
            )
        return float(timeout_s)


def new_session_id() -> SessionId:
    """Return an id that cannot be guessed; it is a capability."""
    return SessionId(secrets.token_urlsafe(24))


def check_session_id(text: str) -> SessionId:
    """Return ``text`` as a session id. Raises InvalidSessionIdError."""
    if not _ID.fullmatch(str(text)):
        raise InvalidSessionIdError(
            "a session id has 1-128 characters of A-Z, a-z, 0-9, dot, underscore and hyphen"
        )
    return SessionId(text)
