"""What is known of sessions beyond this process, so that no variable vanishes without a word."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Final

from py_code_mode.errors import CodeModeError
from py_code_mode.models import SessionId
from py_code_mode.store.base import RecordStore

log = logging.getLogger(__name__)

_PARALLEL: Final = 8
#: A session that runs again and again is written once in so long.
_GATHER_S: Final = 0.5
_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """``generation`` runs were completed; ``replica`` ran the last one, at ``last_used`` (UTC)."""

    generation: int
    replica: str
    last_used: float


class SessionRecords:
    """Reads and writes session records. The first of a session is written before its answer.

    Later ones follow the answer in the background, the newest of a session only: they say no more
    than the first does, that there were variables.
    """

    def __init__(self, store: RecordStore, *, replica: str, ttl_s: float) -> None:
        self.replica = replica
        self._store = store
        self._ttl_s = ttl_s
        self._pending: dict[SessionId, int] = {}
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def load(self, session_id: SessionId) -> SessionRecord | None:
        """Return what is known of a session. Raises StorageUnavailableError."""
        value = await self._store.get(_key(session_id))
        return None if value is None else _parsed(value)

    async def is_elsewhere(self, session_id: SessionId) -> bool:
        """Tell whether another replica ran the session last; False where nobody can tell."""
        try:
            record = await self.load(session_id)
        except CodeModeError:
            return False
        return record is not None and record.replica != self.replica

    async def save(self, session_id: SessionId, generation: int) -> None:
        """Write a record now. Raises StorageUnavailableError."""
        value = {"generation": generation, "replica": self.replica, "last_used": time.time()}
        await self._store.put(_key(session_id), json.dumps(value).encode(), ttl_s=self._ttl_s)

    def save_soon(self, session_id: SessionId, generation: int) -> None:
        """Write a record once the answer is out."""
        self._pending[session_id] = generation
        self._idle.clear()
        self._wake.set()

    async def remove(self, session_id: SessionId) -> None:
        """Forget a session. Raises StorageUnavailableError."""
        self._pending.pop(session_id, None)
        async with self._writing:  # or what is being written would come after it
            await self._store.remove(_key(session_id))

    async def run(self) -> None:
        """Write what is pending, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_GATHER_S)
            try:
                await self._write_pending()
            except CodeModeError as error:
                log.warning("session records cannot be written now: %s", error.message)
                await asyncio.sleep(_PAUSE_S)
                self._wake.set()

    async def flush(self, timeout_s: float) -> None:
        """Wait until nothing is pending, at most so long."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            log.warning("%d session records were not written", len(self._pending))

    async def _write_pending(self) -> None:
        while self._pending:
            async with self._writing:
                await self._write_some()
        self._idle.set()

    async def _write_some(self) -> None:
        some = [self._pending.popitem() for _ in range(min(_PARALLEL, len(self._pending)))]
        done = await asyncio.gather(
            *(self.save(session_id, generation) for session_id, generation in some),
            return_exceptions=True,
        )
        failed = [error for error in done if isinstance(error, BaseException)]
        if failed:
            for session_id, generation in some:
                self._pending.setdefault(session_id, generation)
            raise failed[0]


def _key(session_id: SessionId) -> str:
    return f"session:{session_id}"


def _parsed(value: bytes) -> SessionRecord:
    """Return a record; one that nobody can read still says that there was a session."""
    try:
        found = json.loads(value)
        return SessionRecord(
            int(found["generation"]), str(found["replica"]), float(found["last_used"])
        )
    except (ValueError, KeyError, TypeError):
        return SessionRecord(1, "unknown", 0.0)
