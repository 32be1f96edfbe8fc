"""Group 4: what an idle session weighs: its private memory and its share of what it shares."""

from __future__ import annotations

import os
import re

from benchmarks.results import Results
from benchmarks.sampling import Counts
from benchmarks.workbench import DATA, new_pool, new_worker

GROUP = "Memory"
_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)


async def measure(results: Results, counts: Counts) -> None:
    """Measure many sessions at once. Needs root: a worker's /proc is closed to everyone else."""
    if os.geteuid() != 0:
        results.notes.append(
            "Memory was not measured: workers are not dumpable, so only root may read their"
            " smaps_rollup. Run the benchmarks as root for it."
        )
        return
    for key, preload, limit_mb, with_what in (
        ("pss", (), 5.0, ""),
        ("pss_data", DATA, 6.0, ", numpy and pandas preloaded"),
    ):
        samples = await _idle_sessions(preload, counts.sessions)
        title = f"an idle session's PSS, {counts.sessions} of them{with_what}"
        results.add(key, GROUP, title, "MB", samples)
        results.limit(f"an idle session's memory{with_what}", key, limit_mb)


async def _idle_sessions(preload: tuple[str, ...], count: int) -> list[float]:
    async with new_pool(preload=preload) as pool:
        workers = [await new_worker(pool) for _ in range(count)]
        return [pss_mb(_read(f"/proc/{worker.pid}/smaps_rollup")) for worker in workers]


def pss_of(pid: int) -> float:
    """Return the proportional set size of a process, in MB."""
    return pss_mb(_read(f"/proc/{pid}/smaps_rollup"))


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def pss_mb(rollup: str) -> float:
    """Return the proportional set size of a ``smaps_rollup``, in megabytes of 1,000,000 bytes."""
    found = _PSS.search(rollup)
    if found is None:
        raise ValueError("no Pss line in smaps_rollup")
    return int(found[1]) * 1024 / 1e6
