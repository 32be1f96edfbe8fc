"""What others change is seen at the next call, as one moment, and costs what has changed."""

from __future__ import annotations

import asyncio
import logging

import pytest
import redis

from py_code_mode.store.redis import RedisStorage
from py_code_mode.store.redis_skills import NewSkill
from redis_server import RedisSource

from .redis_storages import Open, RoundTrips


@pytest.fixture
def other(open_storage: Open, shared_redis_url: str, redis_prefix: str) -> RedisStorage:
    """A second storage with the same prefix, as of another replica."""
    return open_storage(shared_redis_url, prefix=redis_prefix)


async def test_a_change_by_one_client_is_seen_by_another_at_its_next_call(
    redis_storage: RedisStorage, other: RedisStorage
) -> None:
    assert (await other.tools.list(), await other.skills.list()) == ({}, [])
    before = await other.skills.revision()
    await redis_storage.tools.add("jq", "x")
    skill = await redis_storage.skills.add("f", "a = 1")
    assert (await other.tools.list(), await other.skills.list()) == ({"jq": "x"}, [skill])
    assert await other.skills.revision() != before
    await redis_storage.skills.remove("f")
    await redis_storage.tools.remove("jq")
    assert (await other.tools.list(), await other.skills.list()) == ({}, [])


async def test_asking_again_costs_one_round_trip(
    redis_storage: RedisStorage, other: RedisStorage, round_trips: RoundTrips
) -> None:
    await redis_storage.tools.replace({f"t{n}": "x" for n in range(200)})
    await other.tools.list()
    for change in [
        redis_storage.artifacts.add("unrelated", b"x"),
        redis_storage.skills.add("unrelated", "a = 1"),
        redis_storage.tools.add("t7", "y"),
        asyncio.sleep(0),
    ]:
        await change
        before = round_trips.sent
        assert len(await other.tools.list()) == 200
        await other.tools.revision()
        assert round_trips.since(before) == 2


async def test_calls_that_wait_together_share_a_question(
    redis_storage: RedisStorage, round_trips: RoundTrips
) -> None:
    await redis_storage.tools.list()
    before = round_trips.sent
    await asyncio.gather(*(redis_storage.tools.list() for _ in range(100)))
    assert round_trips.since(before) <= 3


async def test_two_hundred_tools_are_written_in_one_round_trip(
    redis_storage: RedisStorage, round_trips: RoundTrips
) -> None:
    await redis_storage.check()
    await redis_storage.tools.add("jq", "x")
    before = round_trips.sent
    await redis_storage.tools.replace({f"t{n}": "x" for n in range(200)})
    assert round_trips.since(before) == 1


async def test_a_reader_too_far_behind_reads_everything(
    redis_storage: RedisStorage, other: RedisStorage
) -> None:
    await other.tools.list()
    many = {f"t{n}": str(n) for n in range(2500)}
    await redis_storage.tools.replace(many)
    assert await other.tools.list() == dict(sorted(many.items()))
    await redis_storage.tools.replace({}, remove=list(many)[1:])
    assert await other.tools.list() == {"t0": "0"}


async def test_a_bootstrap_is_seen_whole_or_not_at_all(
    redis_storage: RedisStorage, other: RedisStorage
) -> None:
    names = [f"t{n}" for n in range(100)]

    async def write() -> None:
        for number in range(100):
            await redis_storage.tools.replace(dict.fromkeys(names, str(number)))
            await redis_storage.skills.replace(
                [NewSkill(name, str(number), overwrite=True) for name in names]
            )

    async def read() -> None:
        while not writing.done():
            texts = set((await other.tools.list()).values())
            sources = {skill.source for skill in await other.skills.list()}
            assert len(texts) <= 1
            assert len(sources) <= 1

    writing = asyncio.create_task(write())
    await asyncio.gather(read(), writing)


async def test_nothing_is_changed_where_one_item_is_refused(redis_storage: RedisStorage) -> None:
    kept = await redis_storage.skills.add("kept", "a = 1")
    before = await redis_storage.skills.revision()
    with pytest.raises(LookupError):
        await redis_storage.skills.replace([NewSkill("new", "b = 1")], remove=["absent"])
    with pytest.raises(LookupError):
        await redis_storage.tools.replace({"new": "x"}, remove=["absent"])
    assert (await redis_storage.skills.list(), await redis_storage.tools.list()) == ([kept], {})
    assert await redis_storage.skills.revision() == before


async def test_an_emptied_redis_is_noticed(redis_servers: RedisSource, open_storage: Open) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url)
    await storage.tools.replace({"jq": "x", "curl": "y"})
    seen = [await storage.tools.revision()]
    assert server.cli("FLUSHALL") == b"+OK\r\n"
    assert await storage.tools.list() == {}
    seen.append(await storage.tools.revision())
    await storage.tools.add("nmap", "z")
    assert await storage.tools.list() == {"nmap": "z"}
    seen.append(await storage.tools.revision())
    assert len(set(seen)) == 3


async def test_without_tracking_changes_of_our_clients_are_seen_and_others_once_counted(
    redis_servers: RedisSource, open_storage: Open, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_servers.start()
    server.cli("ACL", "SETUSER", "default", "-client|tracking")
    one, two = open_storage(server.url), open_storage(server.url)
    with caplog.at_level(logging.WARNING):
        assert await one.tools.list() == {}
    assert "offers no key tracking" in caplog.text
    await two.tools.add("jq", "x")
    assert await one.tools.list() == {"jq": "x"}
    server.cli("SET", "agent:tools:curl", "y")
    assert await one.tools.list() == {"jq": "x"}
    server.cli("HINCRBY", "agent:revision:tools", "n", "1")
    assert await one.tools.list() == {"curl": "y", "jq": "x"}


async def test_one_storage_serves_one_event_loop_after_another(
    shared_redis_url: str, redis_prefix: str
) -> None:
    storage = RedisStorage(shared_redis_url, prefix=redis_prefix)

    async def use(name: str) -> list[str]:
        try:
            await storage.tools.add(name, "x")
            return list(await storage.tools.list())
        finally:
            await storage.aclose()

    assert await asyncio.to_thread(asyncio.run, use("a")) == ["a"]
    assert await asyncio.to_thread(asyncio.run, use("b")) == ["a", "b"]


async def test_a_client_of_the_callers_is_used_and_left_open(
    shared_redis_url: str, redis_prefix: str
) -> None:
    async with redis.asyncio.from_url(
        shared_redis_url, decode_responses=True, protocol=2
    ) as client:
        storage = RedisStorage(redis=client, prefix=redis_prefix)
        await storage.tools.add("jq", "ü")
        await storage.artifacts.add("x", b"\xff\0")
        assert await storage.tools.list() == {"jq": "ü"}
        assert (await storage.artifacts.read("x"))[1] == b"\xff\0"
        await storage.aclose()
        assert await client.get(f"{redis_prefix}:tools:jq") == "ü"
