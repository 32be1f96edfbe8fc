"""The jails of a pool's workers: each beside its worker, in the same folder and under its uid."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Callable
from typing import Final

from py_code_mode.errors import WorkerStartError
from py_code_mode.workers.jail import JailProcess, SessionJail
from py_code_mode.workers.process import Worker
from py_code_mode.workers.zygote import Zygote

#: A jail that ran nothing for so long is ended; the next program starts another.
_KEPT_IDLE_S: Final = 60.0

#: The zygote of a worker and the uid it has there; None where the worker is gone.
Home = Callable[[Worker], tuple[Zygote, int | None] | None]


class Jails:
    """Starts jails when they are needed and ends them when they are not."""

    def __init__(self, ids: itertools.count[int], home: Home) -> None:
        self._ids = ids
        self._home = home
        self._by_worker: dict[int, SessionJail] = {}
        self._processes: dict[int, JailProcess] = {}

    @property
    def processes(self) -> list[JailProcess]:
        """Every live jail."""
        return list(self._processes.values())

    def of(self, worker: Worker) -> SessionJail:
        """Return a worker's jail."""
        if worker.id not in self._by_worker:
            self._by_worker[worker.id] = SessionJail(lambda: self._start(worker))
        return self._by_worker[worker.id]

    async def warm(self, worker: Worker) -> None:
        """Start a worker's jail ahead of need; one that cannot be had is told at its first call."""
        with contextlib.suppress(WorkerStartError):
            await self.of(worker).warm()

    def end_idle(self) -> None:
        """End the jails that ran nothing for a while."""
        for jail in self._by_worker.values():
            if jail.idle_s > _KEPT_IDLE_S:
                jail.end()

    def let_go(self, worker: Worker) -> list[JailProcess]:
        """End a worker's jail for good; returns the processes that are about to end."""
        self._by_worker.pop(worker.id, None)
        # One that is still being started is among them.
        theirs = [process for process in self.processes if process.worker_id == worker.id]
        for process in theirs:
            process.kill()
        return theirs

    def on_exit(self, process_id: int) -> None:
        """A process of the zygote's has ended; told here in case it was a jail."""
        jail = self._processes.pop(process_id, None)
        if jail is not None:
            jail.on_exit()

    async def _start(self, worker: Worker) -> JailProcess:
        zygote, uid = self._living(worker)
        jail_id = next(self._ids)
        process = JailProcess(jail_id, worker.id, lambda number: zygote.signal(jail_id, number))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        with theirs:
            await asyncio.get_running_loop().create_connection(lambda: process, sock=ours)
            self._processes[jail_id] = process
            try:
                self._living(worker)
                process.pid, pidfd = await zygote.fork(
                    jail_id, theirs, worker.folder, uid, jail=True
                )
                os.close(pidfd)
                await process.ready()
                self._living(worker)
            except BaseException as error:  # nobody waits for it any more
                process.kill()
                if process.pid == 0 and isinstance(error, WorkerStartError):
                    self.on_exit(jail_id)  # it never was one
                raise
        return process

    def _living(self, worker: Worker) -> tuple[Zygote, int | None]:
        home = self._home(worker)
        if home is None:
            raise WorkerStartError("the session has ended")
        return home
