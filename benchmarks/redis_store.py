"""Group 8: everything in Redis, beside what redis-py alone takes for a SET of the same bytes."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from benchmarks import redis_server
from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_pool, new_worker, scratch_folder, value_of
from py_code_mode import RedisStorage
from py_code_mode.bootstrap.moves import Batch, bootstrap, read_source
from py_code_mode.bootstrap.places import open_target
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.store.redis_skills import NewSkill
from py_code_mode.store.redis_wire import RedisConnection
from py_code_mode.workers.process import Worker

GROUP = "Redis"
_SIZES = {"1 KB": 1000, "10 MB": 10_000_000}
_TOOLS, _SKILLS = 200, 10_000
_TOOL = """\
name: tool_{n}
description: Tool number {n}, of about the size that tools have
command: echo
timeout: 30
tags: [bench]
schema:
  options:
    silent: {{type: boolean, short: s, description: Print less}}
    limit: {{type: integer, description: How many, minimum: 1}}
  positional:
    - {{name: text, type: string, required: true, description: What is printed}}
recipes:
  say:
    description: Print a text
    params: {{text: {{}}}}
"""
_SKILL = '"""Add {n} to a number."""\n\n\ndef run(number: int) -> int:\n    return number + {n}\n'
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
    """Measure saves, the store command, opening a large store, and round trips."""
    program = redis_server.program()
    if program is None:
        results.notes.append("Redis was not measured: there is no redis-server on this machine.")
        return
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        url = stack.enter_context(redis_server.running(program, folder)).url
        await _measure_saves(results, counts, url)
        await _measure_bootstrap(results, counts, url, os.path.join(folder, "tools"))
        await _measure_opening(results, counts, url)
        await _count_round_trips(results, url)


async def _measure_saves(results: Results, counts: Counts, url: str) -> None:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(new_pool())
        storage = RedisStorage(url, prefix="saves")
        stack.push_async_callback(storage.aclose)
        bare = await stack.enter_async_context(Redis.from_url(url))
        worker = await new_worker(pool, Services(storage, limits=Limits()))
        await value_of(worker, _GUEST_CODE)
        cases = [_save_case(label, worker, _saves(label, counts)) for label in _SIZES]
        cases += [_store_case(label, storage, _saves(label, counts)) for label in _SIZES]
        cases += [_set_case(label, bare, _saves(label, counts)) for label in _SIZES]
        tally = await interleave(cases, rounds=max(2, counts.saves))
    for label in _SIZES:
        for key, title in _TITLES.items():
            samples = tally.scaled(f"{key} {label}", MS)
            results.add(f"{key} {label}", GROUP, f"{label} {title}", "ms", samples)
        bare_set = f"redis set {label}"
        results.ratio(f"{label} from agent code, against SET", f"redis {label}", bare_set, 2)
        results.ratio(f"{label} from the host, against SET", f"redis host {label}", bare_set, 2)


_TITLES = {
    "redis": "saved from agent code",
    "redis host": "saved by the host, without the way from the guest",
    "redis set": "beside it: SET by redis-py",
}


def _saves(label: str, counts: Counts) -> int:
    return counts.saves if label == "1 KB" else min(3, counts.saves)


def _save_case(label: str, worker: Worker, saves: int) -> Case:
    async def take(tally: Tally) -> None:
        times: list[Any] = await value_of(worker, f"save({_SIZES[label]}, {saves})")
        tally.add(f"redis {label}", *times)

    return take


def _store_case(label: str, storage: RedisStorage, saves: int) -> Case:
    body = b"x" * _SIZES[label]

    async def take(tally: Tally) -> None:
        for _ in range(saves):
            started = time.perf_counter()
            await storage.artifacts.add("host", body, description="written by the benchmarks")
            tally.add(f"redis host {label}", time.perf_counter() - started)

    return take


def _set_case(label: str, client: Redis, saves: int) -> Case:
    body = b"x" * _SIZES[label]

    async def take(tally: Tally) -> None:
        for _ in range(saves):
            started = time.perf_counter()
            await client.set("bare", body)
            tally.add(f"redis set {label}", time.perf_counter() - started)

    return take


def _write_tools(folder: str) -> None:
    os.mkdir(folder)
    for n in range(_TOOLS):
        with open(os.path.join(folder, f"tool_{n}.yaml"), "w", encoding="utf-8") as file:
            file.write(_TOOL.format(n=n))


async def _measure_bootstrap(results: Results, counts: Counts, url: str, folder: str) -> None:
    _write_tools(folder)

    async def take(tally: Tally) -> None:
        started = time.perf_counter()
        await _store_command(url, folder)
        tally.add("bootstrap", time.perf_counter() - started)

    tally = await interleave([take], rounds=max(2, counts.saves // 2))
    title = f"`store bootstrap` of {_TOOLS} tools: the whole process"
    results.add("bootstrap", GROUP, title, "ms", tally.scaled("bootstrap", MS))
    results.limit(f"a bootstrap of {_TOOLS} tools", "bootstrap", 500)
    items = await read_source(folder, "tools", prefix="trips")
    target = open_target(url, "tools", prefix="trips")
    with _counted() as sent:
        await bootstrap([Batch(items, target.place("tools"))])
    await target.aclose()
    trips = len(sent) * 100 / _TOOLS
    results.add("bootstrap trips", GROUP, "its round trips, per 100 tools", "", [trips])
    results.limit("its round trips, per 100 tools", "bootstrap trips", 2)


async def _store_command(url: str, folder: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "py_code_mode.store", "bootstrap", "--source", folder),
        *("--type", "tools", "--prefix", f"bench-{secrets.token_hex(4)}:tools"),
        env={**os.environ, "REDIS_URL": url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        raise RuntimeError("the store command failed")


async def _measure_opening(results: Results, counts: Counts, url: str) -> None:
    storage = RedisStorage(url, prefix="many")
    new = [NewSkill(f"skill_{n}", _SKILL.format(n=n)) for n in range(_SKILLS)]
    for start in range(0, _SKILLS, 1000):
        await storage.skills.replace(new[start : start + 1000])
    await storage.aclose()

    async def take(tally: Tally) -> None:
        started = time.perf_counter()
        opened = RedisStorage(url, prefix="many")
        found = await opened.skills.list()
        tally.add("opening", time.perf_counter() - started)
        await opened.aclose()
        if len(found) != _SKILLS:
            raise RuntimeError(f"{len(found)} skills were found")

    tally = await interleave([take], rounds=max(2, counts.saves // 2))
    title = f"a store with {_SKILLS:,} skills opened, until all are listed"
    results.add("opening", GROUP, title, "ms", tally.scaled("opening", MS))
    results.limit(f"a store with {_SKILLS:,} skills opened", "opening", 500)


async def _count_round_trips(results: Results, url: str) -> None:
    storage, other = RedisStorage(url, prefix="trips"), RedisStorage(url, prefix="trips")
    service = Services(storage, limits=Limits()).tools
    if len(await service.list()) != _TOOLS:
        raise RuntimeError("the tools are not there")
    await other.artifacts.add("unrelated", b"x")
    await other.skills.add("unrelated", _SKILL.format(n=1))
    with _counted() as sent:
        await service.list()
    results.add("list trips", GROUP, "`tools.list()` after an unrelated change", "", [len(sent)])
    results.limit("`tools.list()` after an unrelated change: round trips", "list trips", 1)
    await storage.aclose()
    await other.aclose()


@contextmanager
def _counted() -> Iterator[list[None]]:
    """Yield a list that grows by one whenever something is sent and its answer awaited."""
    sent: list[None] = []

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            sent.append(None)
            return method(*args, **kwargs)

        return call

    login, exchange = AbstractConnection.send_packed_command, RedisConnection.exchange
    with (
        patch.object(AbstractConnection, "send_packed_command", counted(login)),
        patch.object(RedisConnection, "exchange", counted(exchange)),
    ):
        yield sent
