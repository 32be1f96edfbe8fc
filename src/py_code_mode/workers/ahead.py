"""Workers that are forked ahead of need, and handed to whoever asks first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from py_code_mode.errors import WorkerStartError
from py_code_mode.workers.process import Worker

log = logging.getLogger(__name__)


class Ahead:
    """Forks in the background. ``fork`` makes a worker; ``finish`` does what can wait a little."""

    def __init__(
        self,
        fork: Callable[[], Awaitable[Worker]],
        finish: Callable[[Worker], Awaitable[None]],
        background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._fork = fork
        self._finish = finish
        self._background = background
        self._idle: deque[Worker] = deque()
        self._expected: deque[asyncio.Future[Worker]] = deque()
        self._preparing = 0

    def __len__(self) -> int:
        """How many workers wait for a session."""
        return len(self._idle)

    @property
    def workers(self) -> list[Worker]:
        """The workers that wait for a session."""
        return list(self._idle)

    def fill(self, wanted: int) -> None:
        """Fork what is missing of ``wanted``, in the background."""
        for _ in range(wanted - len(self._idle) - self._preparing):
            self._preparing += 1
            self._background(self._prepare())

    def forget(self, worker: Worker) -> None:
        """Hand a worker to nobody any more."""
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)

    async def take(self) -> Worker | None:
        """Return a worker, that which is being forked if need be; None where there is none."""
        while self._idle:
            worker = self._idle.popleft()
            if worker.alive:
                return worker
        if self._preparing <= len(self._expected):
            return None
        with contextlib.suppress(WorkerStartError):
            return await self._next()
        return None

    async def _next(self) -> Worker:
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._expected.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._expected.remove(future)
            if future.done() and not future.cancelled() and future.exception() is None:
                self._idle.append(future.result())
            raise

    async def _prepare(self) -> None:
        try:
            worker = await self._fork()
        except WorkerStartError as error:
            log.error("no worker could be forked ahead: %s", error)  # noqa: TRY400 - no bug of ours
            self._hand_over(error)
            return
        except BaseException:  # the pool is being closed
            self._hand_over(WorkerStartError("the pool is closed"))
            raise
        finally:
            self._preparing -= 1
        self._hand_over(worker)
        await self._finish(worker)

    def _hand_over(self, prepared: Worker | WorkerStartError) -> None:
        """Give what was prepared to whoever waits for it, else keep it."""
        while self._expected:
            future = self._expected.popleft()
            if future.done():
                continue  # whoever waited has gone
            if isinstance(prepared, Worker):
                future.set_result(prepared)
            else:
                future.set_exception(prepared)
            return
        if isinstance(prepared, Worker):
            self._idle.append(prepared)
