"""Group 3: calls from agent code to the host and back."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_pool, new_worker, one_core, value_of
from py_code_mode import MemoryStorage
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.workers.process import Worker

GROUP = "Calls from agent code to the host"
_TOGETHER = 32

_GUEST_CODE = """
import asyncio
from time import perf_counter

def one_by_one(operation, args, n):
    times = []
    for _ in range(n):
        started = perf_counter()
        operation(*args)
        times.append(perf_counter() - started)
    return times

async def together(operation, args, n, width):
    times = []
    for _ in range(max(1, n // width)):
        started = perf_counter()
        await asyncio.gather(*(operation.call_async(*args) for _ in range(width)))
        times.append((perf_counter() - started) / width)
    return times
"""


async def measure(results: Results, counts: Counts) -> None:
    """Measure an operation that does nothing, and artifacts.exists on memory."""
    await _measure(results, counts, _TITLES)
    with one_core():
        await _measure(results, counts, _ONE_CORE_TITLES)
    results.limit("a call to the host", "call", 0.06)
    results.limit("calls in a row", "call_rate", 15_000, at_least=True)


async def _measure(results: Results, counts: Counts, titles: dict[str, str]) -> None:
    services = Services(MemoryStorage(), limits=Limits())
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(new_pool())
        plain, artifacts = await new_worker(pool), await new_worker(pool, services)
        for worker in (plain, artifacts):
            await value_of(worker, _GUEST_CODE)
        n = counts.calls
        cases = [
            _case("call", plain, f"one_by_one(bench.nothing, (), {n})"),
            _case("call_together", plain, f"await together(bench.nothing, (), {n}, {_TOGETHER})"),
            _case("exists", artifacts, f"one_by_one(artifacts.exists, ('x',), {n})"),
            _case(
                "exists_together",
                artifacts,
                f"await together(artifacts.exists, ('x',), {n}, {_TOGETHER})",
            ),
        ]
        tally = await interleave(cases, rounds=counts.call_rounds)
    for key, title in titles.items():
        source = key.removesuffix("_1")
        unit, factor = ("1/s", 1.0) if source.endswith("_rate") else ("ms", MS)
        results.add(key, GROUP, title, unit, tally.scaled(source, factor))


def _case(key: str, worker: Worker, code: str) -> Case:
    async def take(tally: Tally) -> None:
        times: list[Any] = await value_of(worker, code)
        tally.add(key, *times)
        tally.add(f"{key}_rate", len(times) / sum(times))

    return take


_TITLES = {
    "call": "an operation that does nothing, one call after the other",
    "call_together": f"the same, {_TOGETHER} at a time (`call_async`), per call",
    "exists": "`artifacts.exists` on memory, one call after the other",
    "exists_together": f"the same, {_TOGETHER} at a time, per call",
    "call_rate": "calls that do nothing, one after the other",
}
_ONE_CORE_TITLES = {
    "call_1": "an operation that does nothing, host and guest on one core",
    "exists_1": "`artifacts.exists` on memory, host and guest on one core",
}
