"""A network that is slow, cuts connections or leads to another server than before."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from py_code_mode.errors import StorageUnavailableError
from py_code_mode.store.redis import RedisStorage
from py_code_mode.store.redis_wire import Command
from redis_server import RedisServer, RedisSource

from .redis_proxy import Proxy, proxy_to
from .redis_storages import Open

MB = 1_000_000


@pytest.fixture
def server(redis_servers: RedisSource) -> RedisServer:
    return redis_servers.start()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    async with proxy_to(server.port) as opened:
        yield opened


def direct(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port)


# Large bodies


async def test_a_large_body_is_sent_in_pieces_and_read_once(redis_storage: RedisStorage) -> None:
    body = bytes(64 * MB)
    await redis_storage.artifacts.add("a", b"x" * 100_000)
    tracemalloc.start()
    try:
        await redis_storage.artifacts.add("a", body)
        assert tracemalloc.get_traced_memory()[1] < 2 * MB
        tracemalloc.reset_peak()
        assert (await redis_storage.artifacts.read("a"))[1] == body
        assert tracemalloc.get_traced_memory()[1] < 68 * MB
    finally:
        tracemalloc.stop()


async def test_a_large_body_may_take_longer_than_other_replies(
    proxy: Proxy, open_storage: Open
) -> None:
    storage = open_storage(proxy.url, store_timeout_s=0.5)
    await storage.artifacts.add("a", bytes(10 * MB))
    proxy.bytes_per_s = 8 * MB
    begin = time.monotonic()
    assert len((await storage.artifacts.read("a"))[1]) == 10 * MB
    assert time.monotonic() - begin > 1


async def test_a_connection_cut_in_mid_body_leaves_nothing_that_stays(
    server: RedisServer, proxy: Proxy, open_storage: Open
) -> None:
    storage = open_storage(proxy.url, store_timeout_s=1.0)
    old = await storage.artifacts.add("a", b"old" * 100_000)
    # Were a body continued on another connection, Redis would take its rest for commands.
    body = b"\r\nSET taken 1\r\n" * 200_000
    for bytes_ in [300, 500, 70_000, 1 * MB, 2 * MB]:
        proxy.cut_after = bytes_
        await storage.aclose()
        with pytest.raises(StorageUnavailableError, match="closed the connection"):
            await storage.artifacts.add("a", body)
    proxy.cut_after = float("inf")
    await storage.aclose()
    assert (await storage.artifacts.read("a"))[0] == old
    with direct(server) as client:
        assert not client.exists("taken")
        left = list(client.scan_iter(match="agent:incoming:*"))
        assert all(0 < client.ttl(key) <= 600 for key in left)


async def test_a_body_that_redis_dropped_on_its_way_in_is_sent_again(
    redis_storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, dropped = redis_storage._link.exchange, 0

    async def dropping(commands: Sequence[Command], heard: Any = None) -> list[Any]:
        """Do what an eviction of keys that expire does."""
        nonlocal dropped
        if len(commands) != 5 or dropped >= times:
            return await exchange(commands, heard)
        dropped += 1
        *before, script = commands
        replies = await exchange([*before, (b"DEL", before[1][1]), script], heard)
        return [*replies[:4], replies[5]]

    times = 2
    monkeypatch.setattr(redis_storage._link, "exchange", dropping)
    saved = await redis_storage.artifacts.add("a", b"x" * 100_000)
    assert dropped == 2
    assert await redis_storage.artifacts.read("a") == (saved, b"x" * 100_000)
    times = 100
    with pytest.raises(StorageUnavailableError, match="maxmemory-policy to noeviction"):
        await redis_storage.artifacts.add("a", b"y" * 100_000)
    assert await redis_storage.artifacts.read("a") == (saved, b"x" * 100_000)


async def test_a_save_whose_answer_was_lost_keeps_its_file(
    server: RedisServer, open_storage: Open, tmp_path: Path
) -> None:
    storage = open_storage(
        server.url, store_timeout_s=2.0, artifacts_path=tmp_path / "share", inline_max=10
    )
    await storage.artifacts.add("x", b"one" * 10)
    server.pause()
    call = asyncio.create_task(storage.artifacts.add("x", b"two" * 10))
    await asyncio.sleep(1.2)  # the first attempt has been given up by now, and will be executed
    server.resume()
    saved = await call
    assert await storage.artifacts.read("x") == (saved, b"two" * 10)


# Another server


async def test_after_a_failover_the_new_primary_is_found(
    server: RedisServer, proxy: Proxy, redis_servers: RedisSource, open_storage: Open
) -> None:
    storage = open_storage(proxy.url)
    await storage.tools.add("jq", "x")
    assert await storage.tools.list() == {"jq": "x"}
    replica = redis_servers.start("--replicaof", "127.0.0.1", str(server.port))
    while b"up" not in replica.cli("INFO", "replication").partition(b"link_status:")[2][:3]:
        await asyncio.sleep(0.05)
    assert replica.cli("REPLICAOF", "NO", "ONE") == b"+OK\r\n"
    assert server.cli("REPLICAOF", "127.0.0.1", str(replica.port)) == b"+OK\r\n"
    # Connections stay open, to what is a replica now; only new ones get to the primary.
    proxy.target = replica.port
    await storage.tools.add("jq", "y")
    await storage.deps.add("numpy")
    assert replica.cli("GET", "agent:tools:jq") == b"$1\r\ny\r\n"
    assert await storage.deps.list() == ["numpy"]
