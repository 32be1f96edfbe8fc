"""Group 11: connections through the broker, beside those that a process makes itself."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_worker, value_of
from py_code_mode import MemoryStorage
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.sessions.session import PRELOAD
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker
from py_code_mode.workers.zygote import ZygoteConfig

GROUP = "Connections from agent code"
_SIDE_BY_SIDE: Final = 8
#: More than a session may have; here it is not the pace that is measured.
_PER_SECOND: Final = 1_000_000

_GUEST_CODE = """
import asyncio, socket
from time import perf_counter

def timed(n):
    times = []
    for _ in range(n):
        started = perf_counter()
        sock = socket.create_connection(ADDRESS)
        times.append(perf_counter() - started)
        sock.close()
    return times

async def timed_async(n):
    times = []
    for _ in range(n):
        started = perf_counter()
        _, writer = await asyncio.open_connection(*ADDRESS)
        times.append(perf_counter() - started)
        writer.close()
        await writer.wait_closed()
    return times

async def side_by_side(n, width):
    async def one():
        for _ in range(n):
            _, writer = await asyncio.open_connection(*ADDRESS)
            writer.close()
            await writer.wait_closed()
    started = perf_counter()
    await asyncio.gather(*(one() for _ in range(width)))
    return (perf_counter() - started) / n / width
"""


async def measure(results: Results, counts: Counts) -> None:
    """Measure connections to a loopback server: blocking, in coroutines, and side by side."""
    n = max(1, counts.calls // 25)
    with _server() as server:
        port = server.getsockname()[1]
        policy = EgressPolicy.parse([f"127.0.0.1:{port}"], per_second=_PER_SECOND)
        async with _pool(policy) as brokered, _pool(None) as plain:
            cases: list[Case] = []
            for key, pool in (("brokered", brokered), ("direct", plain)):
                worker = await new_worker(pool, Services(MemoryStorage(), limits=Limits()))
                await value_of(worker, f"ADDRESS = ('127.0.0.1', {port})\n{_GUEST_CODE}")
                cases += [
                    _times(f"connect_{key}", worker, server, f"timed({n})"),
                    _times(f"open_{key}", worker, server, f"await timed_async({n})"),
                    _times(
                        f"open_{_SIDE_BY_SIDE}_{key}",
                        worker,
                        server,
                        f"[await side_by_side({n}, {_SIDE_BY_SIDE})]",
                    ),
                ]
            tally = await interleave(cases, rounds=counts.call_rounds)
    for key, title in _TITLES.items():
        results.add(key, GROUP, title, "ms", tally.scaled(key, MS))
    for kind, what in (("connect", "a connection"), ("open", "asyncio's open_connection")):
        results.difference(f"{what} over a direct one", f"{kind}_brokered", f"{kind}_direct", 1)


_TITLES = {
    "connect_brokered": "socket.create_connection to loopback, through the broker",
    "connect_direct": "beside it: the same without the sandbox",
    "open_brokered": "asyncio.open_connection, through the broker",
    "open_direct": "beside it: the same without the sandbox",
    f"open_{_SIDE_BY_SIDE}_brokered": f"{_SIDE_BY_SIDE} coroutines that open connections, per one",
    f"open_{_SIDE_BY_SIDE}_direct": "beside it: the same without the sandbox",
}


@contextmanager
def _server() -> Iterator[socket.socket]:
    """Yield a socket for which the kernel completes connections; nobody accepts meanwhile."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        server.setblocking(False)
        yield server


def _pool(policy: EgressPolicy | None) -> Pool:
    config = ZygoteConfig(
        root=os.path.join(tempfile.gettempdir(), "py-code-mode-bench"),
        limits=Limits(pool_size=0),
        preload=PRELOAD,
        enforce=policy is not None,
    )
    return Pool(config, egress=policy)


def _times(key: str, worker: Worker, server: socket.socket, code: str) -> Case:
    async def take(tally: Tally) -> None:
        times: list[Any] = await value_of(worker, code)
        tally.add(key, *times)
        with contextlib.suppress(BlockingIOError):
            while True:
                server.accept()[0].close()

    return take
