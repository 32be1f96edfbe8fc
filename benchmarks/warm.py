"""Group 2: how long a run takes in a session that is there, and what the sandbox adds to it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from benchmarks.bare import Echo
from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import ONE_PLUS_ONE, new_pool, new_worker, one_core, run
from py_code_mode import MemoryStorage, Session
from py_code_mode.workers.outgoing import run_frame
from py_code_mode_guest.wire import pack

GROUP = "A run in a session that is there (`1+1`)"
_CPU = "__import__('time').process_time()"
_REQUEST = run_frame(1, ONE_PLUS_ONE, "<run 1>", 1 << 20)
_REPLY = pack({"type": "done", "id": 1, "value": 2, "parts": [], "truncated": []})


async def measure(results: Results, counts: Counts) -> None:
    """Measure runs through Session and on a worker, as they come and on one core."""
    await _measure(results, counts, _TITLES)
    with one_core():
        await _measure(results, counts, _ONE_CORE_TITLES)
    results.limit("a run through Session.run", "session", 0.1)
    results.ratio("the sandbox's part of a run", "worker_1", "worker_off_1", 1.05)


async def _measure(results: Results, counts: Counts, titles: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        on = await stack.enter_async_context(Session(MemoryStorage()))
        off = await stack.enter_async_context(Session(MemoryStorage(), sandbox="off"))
        pool = await stack.enter_async_context(new_pool())
        open_pool = await stack.enter_async_context(new_pool(enforce=False))
        worker, open_worker = await new_worker(pool), await new_worker(open_pool)
        echo = await stack.enter_async_context(Echo(len(_REPLY)))
        block = counts.warm_block
        cases = [
            block_case("session", lambda: on.run(ONE_PLUS_ONE), block),
            block_case("session_off", lambda: off.run(ONE_PLUS_ONE), block),
            block_case("worker", lambda: run(worker, ONE_PLUS_ONE), block),
            block_case("worker_off", lambda: run(open_worker, ONE_PLUS_ONE), block),
            block_case("bare_echo", lambda: echo.ask(_REQUEST), block),
            _cpu_case(on, block),
        ]
        tally = await interleave(cases, rounds=counts.warm_rounds, warm_up=6)
    for key, title in titles.items():
        results.add(key, GROUP, title, "ms", tally.scaled(key.removesuffix("_1"), MS))


def block_case(key: str, action: Callable[[], Awaitable[object]], block: int) -> Case:
    """Return the case that times ``block`` actions, after one that only warms the caches."""

    async def take(tally: Tally) -> None:
        await action()
        for _ in range(block):
            started = time.perf_counter()
            await action()
            tally.add(key, time.perf_counter() - started)

    return take


def _cpu_case(session: Session, block: int) -> Case:
    """CPU time alone: without the waiting for the other process to be woken."""

    async def take(tally: Tally) -> None:
        guest, host = (await session.run(_CPU)).value, time.process_time()
        for _ in range(block):
            await session.run(ONE_PLUS_ONE)
        host = time.process_time() - host
        tally.add("cpu_host", host / block)
        tally.add("cpu_guest", ((await session.run(_CPU)).value - guest) / (block + 1))

    return take


_TITLES = {
    "session": "`Session.run`",
    "worker": "on the worker, without the session's bookkeeping",
    "bare_echo": "beside it: the same bytes to a process that echoes, host on asyncio",
    "cpu_host": "CPU time of `Session.run` in the host",
    "cpu_guest": "CPU time of `Session.run` in the guest",
}
#: Which core the kernel wakes a process on decides more than the sandbox does: compare on one.
_ONE_CORE_TITLES = {
    "session_1": "`Session.run`, host and guest on one core",
    "session_off_1": "the same without the sandbox",
    "worker_1": "on the worker, one core",
    "worker_off_1": "the same without the sandbox",
    "bare_echo_1": "beside it: the same bytes to a process that echoes, one core",
}
