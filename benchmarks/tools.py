"""Group 8: programs called as tools, beside a bare spawn; listings; packages that are there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_pool, new_worker, scratch_folder, value_of
from py_code_mode import MemoryStorage, PackageInstaller
from py_code_mode.cli.demo_world import PACKAGE, write_wheel
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker

GROUP = "Programs as tools, and packages"
_SIDE_BY_SIDE: Final = 8
_NAPPERS: Final = 50
_TOOLS: Final = 200

_TRUE = "name: x\ndescription: Do nothing\ncommand: /bin/true\nrecipes:\n  go: {description: Go}\n"
_NAP = "name: nap\ndescription: Sleep\ncommand: /bin/sleep\nargs: ['0.1']\n"
#: As long as a real one: four options, two recipes.
_LISTED = """\
name: tool_{number}
description: Do the work of tool number {number} on whatever it is given
command: /bin/true
tags: [bench, number]
schema:
  options:
    verbose: {{type: boolean, short: v, description: Say more}}
    count: {{type: integer, minimum: 1, description: How many}}
    format: {{type: string, choices: [json, text], description: Of the output}}
    name: {{type: string, description: Of the thing}}
recipes:
  some: {{description: Some of it, preset: {{count: 3}}, params: {{name: {{}}}}}}
  all: {{description: All of it, params: {{name: {{}}, format: {{}}}}}}
"""

_GUEST_CODE = f"""
import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

pool = ThreadPoolExecutor({_SIDE_BY_SIDE})

def timed(call, n):
    times = []
    for _ in range(n):
        started = perf_counter()
        call()
        times.append(perf_counter() - started)
    return times

def side_by_side(n):
    started = perf_counter()
    list(pool.map(lambda _: timed(tools.x.go, n), range({_SIDE_BY_SIDE})))
    return (perf_counter() - started) / n / {_SIDE_BY_SIDE}

async def naps():
    started = perf_counter()
    await asyncio.gather(*(tools.nap.call_async() for _ in range({_NAPPERS})))
    return perf_counter() - started
"""


async def measure(results: Results, counts: Counts) -> None:
    """Measure calls of ``/bin/true`` one by one and side by side, naps, listings and a sync."""
    await _measure_programs(results, counts)
    await _measure_listing(results, counts)
    results.ratio("a tool's call beside a bare spawn", "tool", "spawn", 1.8)
    results.ratio("the first call of a session beside a bare spawn", "tool_first", "spawn", 5)
    results.ratio(
        "8 calls side by side, beside 8 threads that spawn and read", "tools_8", "spawn_8_read", 1
    )
    results.limit(f"{_NAPPERS} naps of 100 ms at once", "naps", 400)
    results.limit(f"tools.list() of {_TOOLS}", "tools_list", 2)
    results.limit("deps.sync() with nothing to do", "deps_sync", 5)


async def _measure_programs(results: Results, counts: Counts) -> None:
    store = MemoryStorage()
    await store.tools.add("x", _TRUE)
    await store.tools.add("nap", _NAP)
    services = Services(store, limits=Limits())
    n = max(1, counts.calls // 10)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
        async with new_pool() as pool:
            worker = await new_worker(pool, services)
            await value_of(worker, _GUEST_CODE)
            await value_of(worker, "side_by_side(2)")
            cases = [
                _times("tool", worker, f"timed(tools.x.go, {n})"),
                _bare("spawn", n),
                _times("tools_8", worker, f"[side_by_side({n})]"),
                _bare_side_by_side("spawn_8", threads, _spawn, n),
                _bare_side_by_side("spawn_8_read", threads, _spawn_and_read, n),
                _first_call(pool, services),
            ]
            tally = await interleave(cases, rounds=counts.call_rounds)
            naps = [await value_of(worker, "await naps()") for _ in range(counts.call_rounds)]
            tally.add("naps", *naps[1:] or naps)
    for key, title in _TITLES.items():
        results.add(key, GROUP, title, "ms", tally.scaled(key, MS))


_TITLES = {
    "tool": "/bin/true as a tool, in its jail, called from agent code",
    "spawn": "beside it: posix_spawn and wait",
    "tool_first": "the first call of a session whose jail was started ahead",
    "tools_8": "8 threads of agent code that call it, per call",
    "spawn_8": "beside it: 8 threads that spawn and wait, per program",
    "spawn_8_read": "beside it: 8 threads that spawn, read both outputs and wait, per program",
    "naps": f"{_NAPPERS} call_async of a program that sleeps 100 ms",
}


async def _measure_listing(results: Results, counts: Counts) -> None:
    store = MemoryStorage()
    for number in range(_TOOLS):
        await store.tools.add(f"tool_{number}", _LISTED.format(number=number))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(scratch_folder()))
        wheels = write_wheel(folder).parent
        installer = PackageInstaller(
            folder / "cache", environ={}, find_links=[wheels], offline=True
        )
        services = Services(store, limits=Limits(), installer=installer)
        pool = await stack.enter_async_context(new_pool())
        worker = await new_worker(pool, services)
        await value_of(worker, f"{_GUEST_CODE}\ndeps.add({PACKAGE!r})")
        cases = [
            _times("tools_list", worker, "timed(tools.list, 10)"),
            _times("deps_sync", worker, "timed(deps.sync, 10)"),
        ]
        tally = await interleave(cases, rounds=counts.call_rounds)
    titles = {
        "tools_list": f"tools.list() of {_TOOLS} tools",
        "deps_sync": "deps.sync(), no change",
    }
    for key, title in titles.items():
        results.add(key, GROUP, title, "ms", tally.scaled(key, MS))


def _times(key: str, worker: Worker, code: str) -> Case:
    async def take(tally: Tally) -> None:
        times: list[Any] = await value_of(worker, code)
        tally.add(key, *times)

    return take


def _first_call(pool: Pool, services: Services) -> Case:
    async def take(tally: Tally) -> None:
        worker = await new_worker(pool, services)
        await pool.jails.warm(worker)
        await value_of(worker, _GUEST_CODE)
        times: list[Any] = await value_of(worker, "timed(tools.x.go, 1)")
        tally.add("tool_first", *times)
        pool.discard(worker)

    return take


def _bare(key: str, n: int) -> Case:
    async def take(tally: Tally) -> None:
        for _ in range(n):
            started = time.perf_counter()
            _spawn()
            tally.add(key, time.perf_counter() - started)

    return take


def _bare_side_by_side(
    key: str, threads: ThreadPoolExecutor, spawn: Callable[[], None], n: int
) -> Case:
    def some(_: int) -> None:
        for _ in range(n):
            spawn()

    async def take(tally: Tally) -> None:
        started = time.perf_counter()
        list(threads.map(some, range(_SIDE_BY_SIDE)))
        tally.add(key, (time.perf_counter() - started) / n / _SIDE_BY_SIDE)

    return take


def _spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)


def _spawn_and_read() -> None:
    """As a tool's call has to: with what the program says."""
    pipes = [os.pipe(), os.pipe()]
    actions = [(os.POSIX_SPAWN_DUP2, pipes[i][1], i + 1) for i in range(2)]
    pid = os.posix_spawn("/bin/true", ["/bin/true"], {}, file_actions=actions)
    for ours, theirs in pipes:
        os.close(theirs)
        while os.read(ours, 65536):
            pass
        os.close(ours)
    os.waitpid(pid, 0)
