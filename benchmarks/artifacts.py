"""Group 7: saving an artifact from agent code, to files and to memory."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_pool, new_worker, scratch_folder, value_of
from py_code_mode import FileStorage, MemoryStorage
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.workers.process import Worker

GROUP = "Saving an artifact from agent code"
_SIZES = {"1 KB": 1000, "1 MB": 1_000_000}

_GUEST_CODE = """
from time import perf_counter

def save(size, n):
    body = b"x" * size
    times = []
    for _ in range(n):
        started = perf_counter()
        artifacts.save("bench", body, "written by the benchmarks")
        times.append(perf_counter() - started)
    return times
"""


async def measure(results: Results, counts: Counts) -> None:
    """Measure saves of two sizes on files and in memory, beside a bare write and rename."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        pool = await stack.enter_async_context(new_pool())
        cases: list[Case] = []
        for store in (FileStorage(base_path=os.path.join(folder, "store")), MemoryStorage()):
            await store.check()
            stack.push_async_callback(store.aclose)
            services = Services(store, limits=Limits())
            worker = await new_worker(pool, services)
            await value_of(worker, _GUEST_CODE)
            name = "files" if isinstance(store, FileStorage) else "memory"
            cases += [_save_case(name, label, worker, counts.saves) for label in _SIZES]
        cases += [_bare_case(label, folder, counts.saves) for label in _SIZES]
        tally = await interleave(cases, rounds=max(2, counts.saves // 4))
    for label in _SIZES:
        for name, title in _TITLES.items():
            samples = tally.scaled(f"{name} {label}", MS)
            results.add(f"{name} {label}", GROUP, f"{label} {title}", "ms", samples)


_TITLES = {
    "files": "to files",
    "memory": "to memory",
    "bare": "beside it: written to a file by the host and renamed",
}


def _save_case(name: str, label: str, worker: Worker, saves: int) -> Case:
    async def take(tally: Tally) -> None:
        times: list[Any] = await value_of(worker, f"save({_SIZES[label]}, {saves})")
        tally.add(f"{name} {label}", *times)

    return take


def _bare_case(label: str, folder: str, saves: int) -> Case:
    body = b"x" * _SIZES[label]

    async def take(tally: Tally) -> None:
        for _ in range(saves):
            started = time.perf_counter()
            _write_and_rename(folder, body)
            tally.add(f"bare {label}", time.perf_counter() - started)

    return take


def _write_and_rename(folder: str, body: bytes) -> None:
    aside = os.path.join(folder, "aside")
    with open(aside, "wb", buffering=0) as file:
        file.write(body)
    os.replace(aside, os.path.join(folder, "bare"))
