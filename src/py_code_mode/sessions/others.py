"""What one replica asks of the others: whoever has a session is to interrupt, reset or end it.

It is written down beside the session's record. One more record changes with every question, so
that replicas look at nothing else while nobody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Literal

from py_code_mode.errors import CodeModeError
from py_code_mode.models import SessionId
from py_code_mode.store.base import RecordStore

log = logging.getLogger(__name__)

What = Literal["interrupt", "reset", "end"]

_LOOK_S: Final = 0.25
#: Each replica looks in this time; then whoever had the session has seen the question.
_SEEN_S: Final = 0.4
_WAIT_S: Final = 1.5
_POLL_S: Final = 0.05
_KEPT_S: Final = 10.0
#: Questions that are remembered; each is there for a second or two.
_HEARD: Final = 1000
_ASKED: Final = "asked"


class Others:
    """The other replicas. ``run`` answers their questions, ``ask`` asks them."""

    def __init__(self, store: RecordStore, *, replica: str) -> None:
        self._store = store
        self._replica = replica
        self._seen: bytes | None = None
        self._heard: deque[str] = deque(maxlen=_HEARD)
        self._taken: set[asyncio.Task[None]] = set()

    async def ask(self, session_id: SessionId, what: What) -> bool:
        """Have it done by whoever has the session; False where nobody said that it was.

        Raises StorageUnavailableError.
        """
        token = secrets.token_hex(8)
        question = {"what": what, "token": token, "replica": self._replica}
        await self._store.put(_key(session_id), json.dumps(question).encode(), ttl_s=_KEPT_S)
        try:
            await self._store.put(_ASKED, token.encode(), ttl_s=_KEPT_S)
            # An interrupt has one receiver; variables may be left with several replicas.
            least_s = 0.0 if what == "interrupt" else _SEEN_S
            return await self._is_answered(f"answered:{token}", least_s)
        finally:  # what runs in the session from now on is not meant
            await self._store.remove(_key(session_id))

    async def run(
        self,
        held: Callable[[], Collection[SessionId]],
        take: Callable[[SessionId, str], Awaitable[bool]],
    ) -> None:
        """Let ``take`` do what others ask of sessions that are ``held`` here, until cancelled."""
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                try:
                    await self._look(held(), take)
                except CodeModeError as error:
                    log.debug("what other replicas ask cannot be read: %s", error.message)
        finally:
            for task in self._taken:
                task.cancel()

    async def _is_answered(self, key: str, least_s: float) -> bool:
        clock = asyncio.get_running_loop().time
        begun, answered = clock(), False
        while clock() - begun < (least_s if answered else _WAIT_S):
            await asyncio.sleep(_POLL_S)
            answered = answered or await self._store.get(key) is not None
        return answered

    async def _look(
        self, held: Collection[SessionId], take: Callable[[SessionId, str], Awaitable[bool]]
    ) -> None:
        if not held:
            return
        asked = await self._store.get(_ASKED)
        if asked is None or asked == self._seen:
            return
        found = await self._store.get_many([_key(session_id) for session_id in held])
        self._seen = asked
        for session_id in held:
            question = _parsed(found.get(_key(session_id)))
            if question is not None and self._is_news(question):
                task = asyncio.create_task(self._answer(session_id, question, take))
                self._taken.add(task)
                task.add_done_callback(self._taken.discard)

    def _is_news(self, question: Mapping[str, Any]) -> bool:
        """Tell whether others ask it, for the first time: a run that began since is not meant."""
        token = question["token"]
        if question["replica"] == self._replica or token in self._heard:
            return False
        self._heard.append(token)
        return True

    async def _answer(
        self,
        session_id: SessionId,
        question: dict[str, Any],
        take: Callable[[SessionId, str], Awaitable[bool]],
    ) -> None:
        try:
            if await take(session_id, question["what"]):
                await self._store.put(f"answered:{question['token']}", b"1", ttl_s=_KEPT_S)
        except CodeModeError as error:
            log.warning("another replica could not be answered: %s", error.message)


def _key(session_id: SessionId) -> str:
    return f"ask:{session_id}"


def _parsed(value: bytes | None) -> dict[str, Any] | None:
    """Return a question; None for what is none."""
    with contextlib.suppress(ValueError, TypeError):
        found = json.loads(value or b"")
        if {"what", "token", "replica"} <= found.keys():
            return dict(found)
    return None
