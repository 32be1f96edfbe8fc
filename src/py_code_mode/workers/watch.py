"""The watch: what the kernel does not limit, the host does, by looking once a second.

Total disk use of a folder, threads of a process, its shared memory (RLIMIT_DATA counts private
memory only), CPU burnt after the answer, and memory of the host that others wait for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Final

from py_code_mode.models import MIB, Limits
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker

log = logging.getLogger(__name__)

_PERIOD_S: Final = 1.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
#: A folder is looked at while its session runs, and this long after.
_RECENT_S: Final = 3.0


class Watch:
    """Looks at a pool's workers until cancelled."""

    def __init__(self, pool: Pool, limits: Limits, *, period_s: float = _PERIOD_S) -> None:
        self._pool = pool
        self._limits = limits
        self._period_s = period_s
        self._idle_cpu: dict[int, tuple[float, float]] = {}  # worker id -> (answered at, cpu then)

    async def run(self) -> None:
        """Look, sleep, look again."""
        while True:
            await asyncio.sleep(self._period_s)
            workers = self._pool.workers
            for worker in workers:
                self._check_process(worker)
            await self._check_disk(workers)
            self._pool.jails.end_idle()
            self._pool.memory.drop_unused()
            living = {worker.id for worker in workers}
            self._idle_cpu = {i: seen for i, seen in self._idle_cpu.items() if i in living}

    def _check_process(self, worker: Worker) -> None:
        seen = _cpu_and_threads(worker.pid)
        if seen is None:
            return
        cpu_s, threads = seen
        if threads > self._limits.max_threads:
            self._kill(worker, "threads", f"{threads} threads")
        if self._pool.memory.is_wanted and worker.connection.is_overdue:
            self._kill(worker, "violation", "others wait for memory that it does not let go of")
        shared_mb = _shared_memory(worker.pid) // MIB
        if shared_mb > self._limits.memory_mb:
            self._kill(worker, "memory", f"{shared_mb} MiB of shared memory")
        if worker.busy:
            self._idle_cpu.pop(worker.id, None)
            return
        answered_at, cpu_then = self._idle_cpu.setdefault(worker.id, (worker.last_answer, cpu_s))
        if answered_at != worker.last_answer:  # it ran in between: count from its last answer
            self._idle_cpu[worker.id] = (worker.last_answer, cpu_s)
        elif cpu_s - cpu_then > self._limits.idle_cpu_s:
            self._kill(worker, "cpu", f"{cpu_s - cpu_then:.1f} s of CPU after its answer")

    async def _check_disk(self, workers: list[Worker]) -> None:
        now = time.monotonic()
        active = [w for w in workers if w.busy or now - w.last_answer < _RECENT_S]
        if not active:
            return
        sizes = await self._pool.measure(active)
        for worker in active:
            size = sizes.get(worker.id, 0)
            if size > self._limits.disk_mb * MIB:
                self._kill(worker, "disk", f"more than {self._limits.disk_mb} MiB in its folder")

    def _kill(self, worker: Worker, cause: str, why: str) -> None:
        if worker.alive:
            log.warning("worker %d (pid %d) is killed: %s", worker.id, worker.pid, why)
            worker.kill(cause)


def _cpu_and_threads(pid: int) -> tuple[float, int] | None:
    """Return a process's CPU seconds and number of threads; None once it has gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S, int(fields[17])


def _shared_memory(pid: int) -> int:
    """Return the bytes of anonymous shared memory a process has in use."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("RssShmem:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
