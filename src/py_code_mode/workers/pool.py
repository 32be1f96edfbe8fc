"""The pool: confined workers, forked ahead of need, and the folders and uids they live in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final

from py_code_mode.errors import SandboxUnavailableError, WorkerStartError
from py_code_mode.models import MIB, Limits
from py_code_mode.workers.ahead import Ahead
from py_code_mode.workers.brokers import Brokers
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.jail import JailProcess
from py_code_mode.workers.jails import Jails
from py_code_mode.workers.memory import Memory
from py_code_mode.workers.process import Worker
from py_code_mode.workers.resolver import Lookup
from py_code_mode.workers.uids import Uids
from py_code_mode.workers.zygote import Kernel, Zygote, ZygoteConfig

log = logging.getLogger(__name__)

_PARALLEL_FORKS: Final = 2
#: After this many forks a fresh zygote takes over, so that address layouts do not live for ever.
_FORKS_PER_ZYGOTE: Final = 2000


class Pool:
    """Owns the zygote and every worker. Use it with ``async with``.

    ``egress`` says where agent code may connect to, where anything is enforced; None: nowhere.
    ``lookup`` takes the place of the host's resolver for that.
    """

    def __init__(
        self,
        config: ZygoteConfig,
        *,
        min_tier: str = "C",
        egress: EgressPolicy | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._brokers = Brokers(egress, lookup) if egress is not None and config.enforce else None
        self._config = config if self._brokers is None else self._brokers.prepared(config)
        self._min_tier = min_tier
        self._limits: Limits = config.limits
        self._uids = Uids() if config.own_uids else None
        self._ids = itertools.count(1)
        self._workers: dict[int, Worker] = {}
        self._homes: dict[int, tuple[Zygote, int | None]] = {}
        self.jails = Jails(self._ids, self._home_of)
        self._ahead = Ahead(self._fork, self._start_jail_ahead, self._background)
        self._discarded: set[int] = set()
        #: What the host holds for all of them.
        self.memory = Memory(self._limits.calls_memory_mb * MIB)
        #: How many workers have ended, by cause.
        self.deaths: Counter[str] = Counter()
        self._jails_ahead = False
        self._zygote: Zygote | None = None
        self._retired: set[Zygote] = set()
        self._starting = asyncio.Lock()
        self._forking = asyncio.Semaphore(_PARALLEL_FORKS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Pool:
        if sys.platform != "linux":
            raise SandboxUnavailableError(
                "sessions run on Linux only in this version; on macOS and Windows use the Linux"
                ' image or WSL2. sandbox="off" takes the enforcement away, not this need.'
            )
        try:
            await self._current_zygote()
            self.refill(least=1)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    @property
    def kernel(self) -> Kernel:
        """What the kernel enforces for the workers."""
        return self._zygote.kernel if self._zygote else Kernel(0, seccomp=False, own_uid=False)

    @property
    def tier(self) -> str:
        """The sandbox tier in force; ``none`` where enforcement is off."""
        return self.kernel.tier if self._config.enforce else "none"

    @property
    def workers(self) -> list[Worker]:
        """Every live worker, idle or taken."""
        return [worker for worker in self._workers.values() if worker.alive]

    @property
    def ahead(self) -> int:
        """How many workers wait for a session."""
        return len(self._ahead)

    @property
    def alive(self) -> bool:
        """False while there is no zygote to fork from."""
        return self._zygote is not None and self._zygote.alive

    async def checkout(self) -> Worker:
        """Return a confined worker that nobody has used; forks one where none is ready."""
        return await self._ahead.take() or await self._fork()

    def refill(self, *, least: int = 0) -> None:
        """Fork ahead of need, in the background; called after an answer is out.

        ``least`` is how many there must be at any rate.
        """
        self._ahead.fill(max(least, self._limits.pool_size))

    def warm(self, worker: Worker) -> None:
        """Start a worker's jail, in the background."""
        self._background(self.jails.warm(worker))

    def start_jails_ahead(self) -> None:
        """From now on, and in the background, start the jails of the workers that wait too."""
        if not self._jails_ahead:
            self._jails_ahead = True
            for worker in self._ahead.workers:
                self.warm(worker)

    def discard(self, worker: Worker, cause: str = "closed") -> None:
        """End a worker and, in the background, remove its folder and free its uid.

        Doing so again changes nothing.
        """
        if worker.id in self._discarded or worker.id not in self._homes:
            return
        self._discarded.add(worker.id)
        worker.kill(cause)
        self._background(self._bury(worker, self.jails.let_go(worker)))

    async def measure(self, workers: list[Worker]) -> dict[int, int]:
        """Return the bytes on disk in each worker's folder, by worker id."""
        sizes: dict[int, int] = {}
        by_zygote: dict[Zygote, list[Worker]] = {}
        for worker in workers:
            if worker.id in self._homes:
                by_zygote.setdefault(self._homes[worker.id][0], []).append(worker)
        for zygote, housed in by_zygote.items():
            with contextlib.suppress(WorkerStartError):
                measured = await zygote.measure([worker.folder for worker in housed])
                sizes |= {w.id: measured[w.folder] for w in housed if w.folder in measured}
        return sizes

    async def aclose(self) -> None:
        """End everything: workers, folders, zygotes."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        zygotes = {self._zygote, *self._retired} - {None}
        await asyncio.gather(*(zygote.stop() for zygote in zygotes if zygote))
        self._zygote = None
        self._retired.clear()

    async def _start_jail_ahead(self, worker: Worker) -> None:
        if self._jails_ahead:
            await self.jails.warm(worker)

    async def _fork(self) -> Worker:
        async with self._forking:
            zygote = await self._current_zygote()
            worker_id = next(self._ids)
            uid = self._uids.take() if self._uids and zygote.kernel.own_uid else None
            worker = Worker(
                worker_id,
                secrets.token_hex(16),
                limits=self._limits,
                memory=self.memory,
                send_signal=lambda number: zygote.signal(worker_id, number),
                delivered=lambda: zygote.measure([]),  # answered in its turn, after the signals
            )
            self._workers[worker_id] = worker
            self._homes[worker_id] = (zygote, uid)
            try:
                await self._start(worker, zygote, uid)
            except BaseException:
                self.discard(worker)
                raise
            return worker

    async def _start(self, worker: Worker, zygote: Zygote, uid: int | None) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        loop = asyncio.get_running_loop()
        with theirs, contextlib.ExitStack() as stack:
            grants = self._brokers.attach(worker) if self._brokers is not None else None
            if grants is not None:
                stack.enter_context(grants)
            await loop.create_connection(lambda: worker.connection, sock=ours)
            pid, pidfd = await zygote.fork(worker.id, theirs, worker.folder, uid, grants=grants)
        await worker.attach(pid, pidfd)

    async def _current_zygote(self) -> Zygote:
        async with self._starting:
            zygote = self._zygote
            if zygote is not None and zygote.alive and zygote.forks < _FORKS_PER_ZYGOTE:
                return zygote
            if self._closed:
                raise WorkerStartError("the pool is closed")
            fresh = await self._start_zygote()
            if zygote is not None and zygote.alive:
                self._retired.add(zygote)
            elif zygote is not None:
                log.error("the zygote ended; its sessions are lost, a new one took over")
                self._background(zygote.stop())
            self._zygote = fresh
            self._retire()
            return fresh

    async def _start_zygote(self) -> Zygote:
        probe = self._uids.probe if self._uids else None
        root = f"{self._config.root}-{secrets.token_hex(8)}"
        zygote = Zygote(replace(self._config, root=root, uid_probe=probe), self._on_exit)
        await zygote.start()
        try:
            if self._config.enforce:
                zygote.kernel.check(self._min_tier)
        except SandboxUnavailableError:
            await zygote.stop()
            raise
        for name, reason in zygote.preload_failed.items():
            log.error("cannot preload %s: %s", name, reason)
        return zygote

    def _on_exit(self, worker_id: int, exit_code: int | None) -> None:
        self.jails.on_exit(worker_id)
        worker = self._workers.get(worker_id)
        if worker is None:
            return
        worker.on_exit(exit_code)
        self.deaths[worker.cause] += 1
        self._ahead.forget(worker)
        if not self._closed:
            self.discard(worker)  # its folder and uid go back at once, whoever holds it

    def _home_of(self, worker: Worker) -> tuple[Zygote, int | None] | None:
        return None if worker.id in self._discarded else self._homes.get(worker.id)

    async def _bury(self, worker: Worker, jails: list[JailProcess]) -> None:
        """Once the processes are gone nothing can write any more: remove what they wrote."""
        zygote, uid = self._homes[worker.id]
        await zygote.exited(worker.id)
        for jail in jails:
            await zygote.exited(jail.id)
        worker.on_exit(None)
        if zygote.alive:
            left = await zygote.wipe(worker.folder)
            if left is not None:
                log.error("the folder of worker %d could not be removed: %s", worker.id, left)
        self._workers.pop(worker.id, None)
        self._homes.pop(worker.id, None)
        self._discarded.discard(worker.id)
        if uid is not None and self._uids is not None:
            self._uids.give_back(uid)
        self._retire()

    def _retire(self) -> None:
        """End a replaced zygote once its last worker is gone."""
        housed = {zygote for zygote, _ in self._homes.values()}
        for zygote in self._retired - housed:
            self._retired.discard(zygote)
            self._background(zygote.stop())

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
