"""Group 1: how long a new session takes, forked now or taken from the pool."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from benchmarks.bare import Forks
from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import DATA, ONE_PLUS_ONE, Bench, new_pool, run
from py_code_mode.sessions.session import PRELOAD
from py_code_mode.workers.pool import Pool

GROUP = "Session creation"
#: Long enough for the last worker's burial and, with a pool, for its successor.
_SETTLE_S = 0.04
_REFILLED = 32


async def measure(results: Results, counts: Counts) -> None:
    """Measure cold and pooled starts with and without the sandbox, beside a bare fork."""
    async with AsyncExitStack() as stack:
        pools = {
            "cold": new_pool(),
            "cold_off": new_pool(enforce=False),
            "cold_data": new_pool(preload=DATA),
            "pool": new_pool(ready=1),
            "pool_data": new_pool(preload=DATA, ready=1),
        }
        for pool in pools.values():
            await stack.enter_async_context(pool)
        cases = [start_case(name, pool) for name, pool in pools.items()]
        cases.append(_fork_case(stack.enter_context(Forks(PRELOAD))))
        await asyncio.sleep(_SETTLE_S)
        tally = await interleave(cases, rounds=counts.creations, warm_up=3)
    _report(results, tally)
    rates = [await _refill_rate() for _ in range(max(1, counts.saves // 4))]
    title = f"the pool fills up again, {_REFILLED} workers at once"
    results.add("pool_refill", GROUP, title, "workers/s", rates)
    results.limit("the pool fills up again", "pool_refill", 200, at_least=True)


async def _refill_rate() -> float:
    """Return how many workers a second are forked ahead, once all that waited are taken."""
    async with new_pool(ready=_REFILLED) as pool:
        pool.refill()
        await _until_full(pool)
        taken = [await pool.checkout() for _ in range(_REFILLED)]
        started = time.perf_counter()
        pool.refill()
        await _until_full(pool)
        rate = _REFILLED / (time.perf_counter() - started)
        for worker in taken:
            pool.discard(worker)
        return rate


async def _until_full(pool: Pool) -> None:
    while pool.ahead < _REFILLED:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.001)


def start_case(name: str, pool: Pool) -> Case:
    """Return the case that takes a worker and lets it answer its first run."""

    async def start(tally: Tally) -> None:
        started = time.perf_counter()
        worker = await pool.checkout()
        tally.add(f"{name}_ready", time.perf_counter() - started)
        worker.bind(Bench())
        await run(worker, ONE_PLUS_ONE)
        tally.add(f"{name}_first", time.perf_counter() - started)
        pool.refill()
        pool.discard(worker)
        await asyncio.sleep(_SETTLE_S)

    return start


def _fork_case(forks: Forks) -> Case:
    async def fork(tally: Tally) -> None:
        tally.add("bare_fork", forks.seconds())

    return fork


_TITLES = {
    "pool_first": "from the pool: checkout, bind, first `1+1`",
    "pool_data_first": "from the pool, numpy and pandas preloaded",
    "cold_ready": "forked now: until confined and ready",
    "cold_off_ready": "forked now without the sandbox: until ready",
    "cold_first": "forked now: until the first `1+1` is answered",
    "cold_off_first": "forked now without the sandbox: until the first `1+1` is answered",
    "cold_data_ready": "forked now, numpy and pandas preloaded: until ready",
    "cold_data_first": "forked now, numpy and pandas preloaded: until the first `1+1`",
    "bare_fork": "beside it: `os.fork()` and wait, same modules loaded",
}


def _report(results: Results, tally: Tally) -> None:
    for key, title in _TITLES.items():
        results.add(key, GROUP, title, "ms", tally.scaled(key, MS))
    results.limit("a session from the pool", "pool_first", 1.5)
    results.limit("a session forked now, until ready", "cold_ready", 12.0)
    results.ratio("forked now, against no sandbox", "cold_ready", "cold_off_ready", 3.0)
    results.difference("the sandbox's part of a start", "cold_ready", "cold_off_ready", 1.5)
