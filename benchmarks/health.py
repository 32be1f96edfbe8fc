"""Group 13: what ``/health`` takes while the server has something to wait for, or much to do."""

from __future__ import annotations

import asyncio
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any, Final

from benchmarks import redis_server, session_server
from benchmarks.redis_server import Redis
from benchmarks.results import Results
from benchmarks.sampling import MS, Counts
from benchmarks.server import fill
from benchmarks.session_server import Server
from benchmarks.workbench import scratch_folder
from py_code_mode import RedisStorage

GROUP = "The session server: `/health` meanwhile"
_LIMIT_MS: Final = 50.0
_PAUSE_S: Final = 0.01
_SLOW_TOOL: Final = "name: slow\ndescription: Take its time\ncommand: sleep\nargs: ['2']\n"
_TITLES: Final = {
    "nothing": "nothing else goes on",
    "redis": "Redis hangs and 8 clients wait for it",
    "tool": "8 sessions call a program that takes 2 s",
    "embedding": "a search embeds {skills:,} skills first",
    "install": "a package of {files:,} files is installed",
    "idle": "{sessions:,} sessions are idle",
}
Work = Callable[[], Any]


async def measure(results: Results, counts: Counts) -> None:
    """Start a server on a Redis of its own, and keep it from nothing."""
    program = redis_server.program()
    if program is None:
        results.notes.append("/health under load was not measured: no redis-server here.")
        return
    sizes = {
        "skills": counts.calls * 20, "files": counts.calls * 8, "sessions": counts.sessions * 5,
    }  # fmt: skip
    with scratch_folder() as folder, redis_server.running(program, folder) as redis:
        await fill(redis.url, tools=1, skills=sizes["skills"])
        await RedisStorage(redis.url).tools.add("slow", _SLOW_TOOL)
        _write_wheel(folder, sizes["files"])
        settings = {
            "REDIS_URL": redis.url, "STORE_TIMEOUT": "1", "WORK_DIR": folder,
            "MAX_SESSIONS": "1000", "ALLOW_RUNTIME_DEPS": "true",
            "UV_FIND_LINKS": folder, "UV_OFFLINE": "1", "UV_NO_INDEX": "1",
        }  # fmt: skip
        await asyncio.to_thread(_measure, results, folder, settings, redis, sizes)


def _measure(
    results: Results, folder: str, settings: dict[str, str], redis: Redis, sizes: dict[str, int]
) -> None:
    with session_server.running(folder, settings) as server:
        samples = {
            "nothing": _during(server, [_nothing]),
            "tool": _during(server, [_calls(server, n) for n in range(8)]),
            "embedding": _during(server, [_search(server)]),
            "install": _during(server, [_install(server)]),
            "idle": _beside_sessions(server, sizes["sessions"]),
        }
        with redis.hung():
            samples["redis"] = _during(server, [_listing(server) for _ in range(8)])
    for key, about in _TITLES.items():
        title = about.format(**sizes)
        results.add(f"health_{key}", GROUP, title, "ms", samples[key])
        slow = results.figures[f"health_{key}"].p95
        results.add(f"health_{key}_p95", GROUP, "the same, 95 of 100 are below", "ms", [slow])
        results.limit(f"`/health`, 95 of 100, while {title}", f"health_{key}_p95", _LIMIT_MS)


def _during(server: Server, works: Sequence[Work]) -> list[float]:
    """Return what ``/health`` takes, again and again, until all works are done."""
    with closing(server.connect()) as client, ThreadPoolExecutor(len(works)) as threads:
        futures: list[Future[Any]] = [threads.submit(work) for work in works]
        samples: list[float] = []
        while not samples or not all(future.done() for future in futures):
            samples.append(client.health() * MS)
            time.sleep(_PAUSE_S)
        wait(futures)
        for future in futures:
            future.result()
    return samples


def _nothing() -> None:
    time.sleep(1)


def _calls(server: Server, number: int) -> Work:
    def work() -> None:
        with closing(server.connect()) as client:
            _, answer = client.execute("tools.slow()", f"slow-{number}")
            if answer["error"] is not None:
                raise RuntimeError(answer["error"])

    return work


def _search(server: Server) -> Work:
    return _request(server, "GET", "/api/skills/search?query=work", b'"score"')


def _install(server: Server) -> Work:
    return _request(server, "POST", "/api/deps/add", b"benchpkg", {"package": "benchpkg"})


def _listing(server: Server) -> Work:
    return _request(server, "GET", "/api/artifacts", b"storage_unavailable")


def _request(server: Server, method: str, path: str, expected: bytes, body: Any = None) -> Work:
    def work() -> None:
        with closing(server.connect()) as client:
            _, answer = client.request(method, path, body)
            if expected not in answer:
                raise RuntimeError(f"{method} {path} answered {answer[:500]!r}")

    return work


def _beside_sessions(server: Server, number: int) -> list[float]:
    with closing(server.connect()) as client:
        for n in range(number):
            client.execute("x = 1", f"idle-{n}")
    return _during(server, [_nothing])


def _write_wheel(folder: str, files: int) -> None:
    """Write a package of many modules, which are compiled when it is installed."""
    info = "benchpkg-1.0.dist-info"
    source = "def add(a, b):\n    return a + b\n" * 20
    content = {f"benchpkg/m{n}.py": source for n in range(files)}
    content["benchpkg/__init__.py"] = ""
    content[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: benchpkg\nVersion: 1.0\n"
    content[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    content[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(os.path.join(folder, "benchpkg-1.0-py3-none-any.whl"), "w") as wheel:
        for name, text in content.items():
            wheel.writestr(name, text)
