"""Runs with an id of the client's: asked for again, they give the same answer, never a rerun."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from py_code_mode.errors import (
    CodeModeError,
    ExecutionIdReusedError,
    ExecutionOutcomeUnknownError,
)
from py_code_mode.models import SessionId
from py_code_mode.store.base import RecordStore

log = logging.getLogger(__name__)

Answer = dict[str, Any]

_KEPT_S: Final = 600.0
#: A run under way is known for longer than any may take, its time in the queue included.
_RUNNING_KEPT_S: Final = 24 * 3600.0
#: A replica says that it lives; without a word for so long it is gone.
_BEAT_S, _BEAT_KEPT_S = 5.0, 20.0
_POLL_S: Final = 0.1
#: What an answer has beside its value, its displays and its two outputs.
_REST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """One execution of this process."""

    code: str
    task: asyncio.Task[tuple[Answer, bool]]


class Executions:
    """Runs each id once. Its records are in the store, so that any replica can tell."""

    def __init__(self, store: RecordStore, *, replica: str, max_output_bytes: int) -> None:
        self._store = store
        self._replica = replica
        # A value, displays and two outputs, of which base64 makes a third more.
        self._max_bytes = 16 * max_output_bytes // 3 + _REST
        self._known: dict[str, _Known] = {}

    async def run(
        self,
        session_id: SessionId,
        execution_id: str,
        code: str,
        work: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """Return the answer of an id: of ``work``, which runs to its end whoever waits, or earlier.

        Raises:
            ExecutionIdReusedError: the id was used for other code.
            ExecutionOutcomeUnknownError: the replica that ran it is gone.
        """
        key = f"execution:{session_id}:{execution_id}"
        digest = blake2b(code.encode(), digest_size=20).hexdigest()
        known = self._known.get(key)
        if known is None:
            task = asyncio.create_task(self._first_or_recorded(key, digest, work))
            known = self._known[key] = _Known(digest, task)
            task.add_done_callback(lambda done: self._ended(key, done))
        elif known.code != digest:
            raise _reused(execution_id)
        answer, _ = await asyncio.shield(known.task)
        return answer

    async def beat(self) -> None:
        """Say that this replica lives, until cancelled."""
        while True:
            try:
                await self._store.put(f"replica:{self._replica}", b"1", ttl_s=_BEAT_KEPT_S)
            except CodeModeError as error:
                log.warning("other replicas cannot be told of this one: %s", error.message)
            await asyncio.sleep(_BEAT_S)

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [known.task for known in self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_or_recorded(
        self, key: str, digest: str, work: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """Return the answer, and whether the store has it too."""
        claim = {"code": digest, "replica": self._replica, "token": secrets.token_hex(8)}
        recorded = await self._store.claim(key, json.dumps(claim).encode(), ttl_s=_RUNNING_KEPT_S)
        if recorded is not None:
            return await self._answer_of(key, digest, json.loads(recorded)), True
        try:
            answer = await work()
        except CodeModeError:
            await self._store.remove(key)  # it never ran
            raise
        value = _packed({**claim, "answer": self._bounded(answer)})
        try:
            await self._store.put(key, value, ttl_s=_KEPT_S)
        except CodeModeError as error:  # what ran has run, and whoever waits here is told
            log.warning("the answer to %s could not be recorded: %s", key, error.message)
            return answer, False
        return answer, True

    async def _answer_of(self, key: str, digest: str, record: dict[str, Any]) -> Answer:
        """Return the answer that a record has or will have."""
        while True:
            if record["code"] != digest:
                raise _reused(key.rpartition(":")[2])
            if "answer" in record:
                answer: Answer = record["answer"]
                return answer
            replica = record["replica"]
            if replica == self._replica or await self._store.get(f"replica:{replica}") is None:
                raise ExecutionOutcomeUnknownError(
                    "this execution was begun by a server that is gone, so nobody knows whether"
                    " it ended; look at what it changed, then use a new execution_id"
                )
            await asyncio.sleep(_POLL_S)
            value = await self._store.get(key)
            if value is None:
                raise ExecutionOutcomeUnknownError("this execution ended without an answer")
            record = json.loads(value)

    def _bounded(self, answer: Answer) -> Answer:
        """Return an answer that may be recorded: without what is too large, which is told."""
        for name, nothing in (("displays", []), ("value", None)):
            if len(_packed(answer)) <= self._max_bytes:
                break
            cut = sorted({*answer["truncated"], name})
            answer = {**answer, name: nothing, "truncated": cut}
        return answer

    def _ended(self, key: str, task: asyncio.Task[tuple[Answer, bool]]) -> None:
        """Forget what the store knows; after a failure the next one may try again."""
        failed = task.cancelled() or task.exception() is not None
        if failed or task.result()[1]:
            self._known.pop(key, None)
        else:
            asyncio.get_running_loop().call_later(_KEPT_S, self._known.pop, key, None)


def _packed(record: Answer) -> bytes:
    # As UTF-8: escaped, a text that is not ASCII would be up to three times as long.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _reused(execution_id: str) -> ExecutionIdReusedError:
    return ExecutionIdReusedError(
        f"the execution_id {execution_id!r} was used for other code in this session; an id stands"
        " for one run, so take a new one"
    )
