"""Group 12: the session server over HTTP, beside its own ``/health``, with Redis behind it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from benchmarks import redis_server, session_server
from benchmarks.memory import pss_of
from benchmarks.results import Results
from benchmarks.sampling import MS, Counts
from benchmarks.session_server import Client, Server
from benchmarks.workbench import scratch_folder
from py_code_mode import RedisStorage

GROUP = "The session server"
_ITEMS: Final = 200
_SLEEPERS: Final = 200
_NAP: Final = "import time; time.sleep(0.2)"
_TOOL = "name: tool_{n}\ndescription: Do the work of number {n}\ncommand: /bin/true\n"
_SKILL = '"""Do the work of number {n}."""\n\n\ndef run(value: str) -> str:\n    return value\n'


async def measure(results: Results, counts: Counts) -> None:
    """Start a server on Redis with 200 tools and 200 skills, and put load on it."""
    program = redis_server.program()
    if program is None:
        results.notes.append("The server was not measured: no redis-server here.")
        return
    with scratch_folder() as folder, redis_server.running(program, folder) as redis:
        await fill(redis.url)
        settings = {"REDIS_URL": redis.url, "MAX_SESSIONS": "1000", "WORK_DIR": folder}
        await asyncio.to_thread(_measure, results, counts, folder, settings)


def _measure(results: Results, counts: Counts, folder: str, settings: dict[str, str]) -> None:
    with session_server.running(folder, settings) as server:
        results.add(
            "server_ready", GROUP, "start to /ready, 200 tools and 200 skills in Redis", "s",
            [server.ready_s],
        )  # fmt: skip
        results.add("server_memory", GROUP, "memory of the server", "MB", [pss_of(server.pid)])
        _measure_one_by_one(results, counts, server)
        _measure_rate(results, counts, server, folder)
        _measure_sleepers(results, counts, server)
        _measure_idle_sessions(results, counts, server)
    _bound(results)


def _bound(results: Results) -> None:
    results.limit("start to /ready", "server_ready", 1.0)
    results.limit("memory of the server", "server_memory", 100)
    results.difference("a warm 1+1 over HTTP, above /health", "server_warm", "server_health", 0.6)
    results.limit("a new session over HTTP", "server_new", 3)
    results.limit("a new session over HTTP, 95 of 100", "server_new_p95", 5)
    results.limit(f"{_SLEEPERS} sleeps of 0.2 s on sessions that exist", "server_naps", 0.5)
    results.limit(f"{_SLEEPERS} sleeps of 0.2 s on new sessions", "server_new_naps", 1.5)
    results.limit("an idle session of many", "server_session_memory", 4.0)
    if "server_rate" in results.figures:
        results.limit("8 clients on 8 sessions", "server_rate", 3000, at_least=True)


def _measure_one_by_one(results: Results, counts: Counts, server: Server) -> None:
    client = server.connect()
    client.execute("1+1", "warm")
    rounds = counts.calls * 4
    health, warm = [], []
    for _ in range(rounds):
        health.append(client.health() * MS)
        warm.append(client.execute("1+1", "warm")[0] * MS)
    fresh = []
    for _ in range(counts.sessions):
        fresh.append(client.execute("1+1")[0] * MS)
        time.sleep(0.03)  # one at a time: the pool fills up in between
    client.close()
    results.add("server_health", GROUP, "/health, one client", "ms", health)
    results.add("server_warm", GROUP, "a warm 1+1, one client", "ms", warm)
    results.add("server_new", GROUP, "1+1 in a new session, one at a time", "ms", fresh)
    slow = sorted(fresh)[max(0, round(0.95 * len(fresh)) - 1)]
    results.add("server_new_p95", GROUP, "the same, 95 of 100 are below", "ms", [slow])


def _measure_rate(results: Results, counts: Counts, server: Server, folder: str) -> None:
    rate = session_server.requests_per_s(server, folder, min(5.0, counts.sessions / 20 + 0.5))
    if rate is None:
        results.notes.append("Requests per second were not measured: no wrk here.")
        return
    title = "8 clients on 8 sessions, driven by wrk on the same cores"
    results.add("server_rate", GROUP, title, "requests/s", [rate])


def _measure_sleepers(results: Results, counts: Counts, server: Server) -> None:
    number = min(_SLEEPERS, counts.sessions * 2)
    names = [f"sleeper-{i}" for i in range(number)]
    clients = [server.connect() for _ in names]

    def together(work: Callable[[Client, str], Any]) -> float:
        with ThreadPoolExecutor(number) as threads:
            list(threads.map(lambda _: None, names))
            started = time.perf_counter()
            list(threads.map(work, clients, names))
            return time.perf_counter() - started

    together(lambda client, name: client.execute("1", name))
    naps = [together(lambda client, name: client.execute(_NAP, name)) for _ in range(3)]
    fresh = together(lambda client, _: client.execute(_NAP))
    for client in clients:
        client.close()
    results.add(
        "server_naps", GROUP, f"{number} sleeps of 0.2 s at once, sessions exist", "s", naps
    )
    results.add("server_new_naps", GROUP, f"{number} of them in new sessions", "s", [fresh])


def _measure_idle_sessions(results: Results, counts: Counts, server: Server) -> None:
    client = server.connect()
    for i in range(min(500, counts.sessions * 5)):
        client.execute("1", f"idle-{i}")
    client.close()
    workers = _sessions_of(server.pid)
    memory = []
    for pid in workers:
        with suppress(FileNotFoundError):  # one of the cases before has just ended
            memory.append(pss_of(pid))
    title = f"an idle session, PSS, {len(memory)} of them"
    results.add("server_session_memory", GROUP, title, "MB", memory)


def _sessions_of(server_pid: int) -> list[int]:
    """Return the pids of the zygote's children, which are the sessions."""
    (zygote, *_) = _children(server_pid)
    return _children(zygote)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


async def fill(url: str, *, tools: int = _ITEMS, skills: int = _ITEMS) -> None:
    """Put tools and skills into a Redis."""
    storage = RedisStorage(url)
    for n in range(tools):
        await storage.tools.add(f"tool_{n}", _TOOL.format(n=n))
    for n in range(skills):
        await storage.skills.add(f"skill_{n}", _SKILL.format(n=n), description=f"Work {n}")
    await storage.aclose()
