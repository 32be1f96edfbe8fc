"""The keys are a promise: what we write others can read, and what others write we see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
import redis

from py_code_mode import Session
from py_code_mode.errors import (
    ConfigurationError,
    InvalidSkillError,
    SkillProtectedError,
    StorageUnavailableError,
    ToolError,
)
from py_code_mode.store.redis import RedisStorage

from .redis_storages import Open

NAMES = ["__index__", "a:b", "index:artifacts", "*", "[a-z]?", "ü/日本 語", "a\u2028b", "-rf"]


@pytest.fixture
def foreign(shared_redis_url: str) -> Iterator[redis.Redis]:
    """A client that knows nothing of us, as redis-cli."""
    with redis.Redis.from_url(shared_redis_url) as client:
        yield client


async def test_every_collection_has_its_key_and_type(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    await redis_storage.tools.add("jq", "name: jq\n")
    skill = await redis_storage.skills.add("f", "a = 1\n", description="d", author="ann")
    saved = await redis_storage.artifacts.add("x/y", b"\0\xff", metadata={"a": 1})
    await redis_storage.deps.add("requests>=2.0")
    assert foreign.get(f"{redis_prefix}:tools:jq") == b"name: jq\n"
    assert foreign.hgetall(f"{redis_prefix}:skills:f") == {
        b"source": b"a = 1\n",
        b"description": b"d",
        b"version": b"1",
        b"author": b"ann",
        b"origin": b"bootstrap",
        b"created_at": skill.created_at.encode(),
    }
    assert foreign.hgetall(f"{redis_prefix}:artifacts:x/y") == {
        b"data": b"\0\xff",
        b"media_type": b"application/octet-stream",
        b"description": b"",
        b"metadata": b'{"a": 1}',
        b"created_at": saved.created_at.encode(),
        b"size": b"2",
    }
    assert foreign.smembers(f"{redis_prefix}:deps") == {b"requests>=2.0"}


async def test_what_is_ours_is_apart_from_what_is_everyones(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    await redis_storage.tools.add("jq", "x")
    for number in range(3):
        await redis_storage.skills.add("f", f"a = {number}", overwrite=True)
        await redis_storage.artifacts.add("a", b"x" * 100_000)
    await redis_storage.check()
    for kind, names in {"tools": [b"jq"], "skills": [b"f"], "artifacts": [b"a"]}.items():
        start = f"{redis_prefix}:{kind}:".encode()
        assert list(foreign.scan_iter(match=start + b"*")) == [start + name for name in names]
    kinds = {key.split(b":")[1] for key in foreign.scan_iter(match=f"{redis_prefix}:*")}
    assert kinds <= {
        *(b"tools", b"skills", b"artifacts", b"revision", b"changes"),
        *(b"versions", b"index", b"usage", b"incoming"),
    }


async def test_a_body_on_its_way_in_leaves_nothing_and_never_expires(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    await redis_storage.artifacts.add("a", b"x" * 100_000)
    assert foreign.ttl(f"{redis_prefix}:artifacts:a") == -1
    assert not list(foreign.scan_iter(match=f"{redis_prefix}:incoming:*"))


@pytest.mark.parametrize("name", NAMES)
async def test_no_artifact_name_reaches_another_key(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis, name: str
) -> None:
    other = await redis_storage.artifacts.add("other", b"1")
    await redis_storage.deps.add("numpy")
    saved = await redis_storage.artifacts.add(name, b"2")
    assert foreign.hget(f"{redis_prefix}:artifacts:{name}", "data") == b"2"
    assert await redis_storage.artifacts.list() == sorted([other, saved], key=lambda a: a.name)
    await redis_storage.artifacts.remove(name)
    assert await redis_storage.artifacts.list() == [other]
    assert await redis_storage.deps.list() == ["numpy"]


async def test_a_prefix_with_signs_of_patterns_matches_itself_alone(
    open_storage: Open, shared_redis_url: str, redis_prefix: str
) -> None:
    odd = open_storage(shared_redis_url, prefix=f"{redis_prefix}:[ab]*?\\")
    near = open_storage(shared_redis_url, prefix=f"{redis_prefix}:aXY\\")
    await near.tools.add("theirs", "x")
    await odd.tools.add("ours", "y")
    assert await odd.tools.list() == {"ours": "y"}
    assert await near.tools.list() == {"theirs": "x"}


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "a b", "a\n", "a:", ":a", "a::b", "agent:tools", "agent:deps", "a" * 201),
        *("x:artifacts:y", "x:tools:y", "x:versions", "x:session:y"),
    ],
)
def test_a_prefix_that_could_be_taken_for_something_else_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a prefix for Redis keys"):
        RedisStorage("redis://127.0.0.1:1", prefix=prefix)


# Written by others


async def test_specs_that_anyone_adds_are_listed(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    foreign.sadd(f"{redis_prefix}:deps", "requests>=2.0", "beautifulsoup4", b"\xff")
    assert await redis_storage.deps.list() == ["\\xff", "beautifulsoup4", "requests>=2.0"]


async def test_tools_changed_by_others_are_seen_at_the_next_call(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    await redis_storage.tools.add("jq", "one")
    seen = {await redis_storage.tools.revision()}
    changes: list[tuple[Callable[[], object], dict[str, str]]] = [
        (lambda: foreign.set(f"{redis_prefix}:tools:jq", "two"), {"jq": "two"}),
        (lambda: foreign.set(f"{redis_prefix}:tools:curl", "c"), {"curl": "c", "jq": "two"}),
        (lambda: foreign.delete(f"{redis_prefix}:tools:jq"), {"curl": "c"}),
        (
            lambda: foreign.rename(f"{redis_prefix}:tools:curl", f"{redis_prefix}:tools:c"),
            {"c": "c"},
        ),
    ]
    for change, expected in changes:
        change()
        assert await redis_storage.tools.list() == expected
        seen.add(await redis_storage.tools.revision())
    assert len(seen) == 5


async def test_a_skill_that_a_person_wrote_is_the_operators(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    assert await redis_storage.skills.list() == []
    foreign.hset(f"{redis_prefix}:skills:f", mapping={"source": "a = 1"})
    (skill,) = await redis_storage.skills.list()
    assert (skill.source, skill.version, skill.origin, skill.author) == ("a = 1", 1, "config", "")
    with pytest.raises(SkillProtectedError):
        await redis_storage.skills.add("f", "x", overwrite=True, replaceable=frozenset({"agent"}))
    new = await redis_storage.skills.add("f", "a = 2", overwrite=True)
    assert new.version == 2
    assert (await redis_storage.skills.get("f", 1)) == skill


async def test_a_skill_that_is_no_text_hides_no_other(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    kept = await redis_storage.skills.add("good", "a = 1")
    foreign.hset(f"{redis_prefix}:skills:bad", mapping={"source": b"\xff"})
    foreign.set(f"{redis_prefix}:skills:worse", "a string")
    foreign.hset(f"{redis_prefix}:skills:not a name", mapping={"source": "x"})
    assert await redis_storage.skills.list() == [kept]
    with pytest.raises(InvalidSkillError, match="not UTF-8"):
        await redis_storage.skills.get("bad")


async def test_an_artifact_that_a_person_wrote_is_there(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    foreign.hset(f"{redis_prefix}:artifacts:x", mapping={"data": b"\xff\0"})
    stored, body = await redis_storage.artifacts.read("x")
    assert (stored.size, stored.media_type, stored.metadata, body) == (
        *(2, "application/octet-stream", {}),
        b"\xff\0",
    )
    assert await redis_storage.artifacts.get("x") == stored
    assert await redis_storage.artifacts.list() == [stored]


async def test_a_size_that_a_person_wrote_wrong_keeps_no_session_waiting(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    foreign.hset(f"{redis_prefix}:artifacts:x", mapping={"data": b"x" * 400_000, "size": "0"})
    stored, body = await redis_storage.artifacts.read_at_most("x", 5)
    assert (stored.size, body) == (400_000, None)
    async with Session(redis_storage) as session:
        run = await session.run("len(artifacts.load('x'))", timeout=5)
    assert run.value == 400_000, run.error


async def test_an_artifact_that_a_person_removed_is_in_nobodys_way(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    await redis_storage.artifacts.add("a/b", b"x")
    foreign.delete(f"{redis_prefix}:artifacts:a/b")
    saved = await redis_storage.artifacts.add("a", b"y")
    assert await redis_storage.artifacts.list() == [saved]


async def test_a_key_of_another_type_is_named(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    storage, there = redis_storage, "has a key of another type, '{}:{}': delete or rename it"
    for kind in ["tools:x", "skills:x", "artifacts:x", "deps"]:
        foreign.rpush(f"{redis_prefix}:{kind}", "a")
    calls: dict[str, list[Callable[[], Awaitable[object]]]] = {
        "tools:x": [lambda: storage.tools.get("x"), lambda: storage.tools.add("x", "y")],
        "skills:x": [lambda: storage.skills.get("x"), lambda: storage.skills.add("x", "y")],
        "artifacts:x": [
            lambda: storage.artifacts.get("x"),
            lambda: storage.artifacts.read("x"),
            lambda: storage.artifacts.read_at_most("x", 1),
            lambda: storage.artifacts.add("x", b""),
            lambda: storage.artifacts.add("x", b"x" * 100_000),
            lambda: storage.artifacts.remove("x"),
        ],
        "deps": [storage.deps.list, lambda: storage.deps.add("x")],
    }
    for key, ask in calls.items():
        for call in ask:
            with pytest.raises(StorageUnavailableError) as caught:
                await call()
            assert there.format(redis_prefix, key) in str(caught.value)
    assert await storage.tools.list() == {}
    assert await storage.skills.list() == []
    assert await storage.artifacts.list() == []


async def test_a_key_of_another_type_is_named_by_a_transaction_too(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    foreign.set(f"{redis_prefix}:deps", "a string")
    with pytest.raises(StorageUnavailableError, match="has a key of another type"):
        await redis_storage.deps.replace(["new"], remove=["old"])


async def test_a_tool_that_is_no_text_is_told(
    redis_storage: RedisStorage, redis_prefix: str, foreign: redis.Redis
) -> None:
    foreign.set(f"{redis_prefix}:tools:x", b"\xff")
    with pytest.raises(ToolError, match="not UTF-8"):
        await redis_storage.tools.get("x")
    with pytest.raises(ToolError, match="stored as UTF-8"):
        await redis_storage.tools.add("x", "\ud800")
