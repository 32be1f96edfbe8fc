"""What a prefix may hold: skills and artifacts together, counted in the step that saves them."""

from __future__ import annotations

import asyncio

import pytest

from py_code_mode.errors import StorageFullError
from py_code_mode.store.redis import RedisStorage

from .redis_storages import Open

MIB = 1024 * 1024


@pytest.fixture
def storage(open_storage: Open, shared_redis_url: str, redis_prefix: str) -> RedisStorage:
    return open_storage(shared_redis_url, prefix=redis_prefix, max_store_mb=1)


async def counted(storage: RedisStorage) -> int:
    return int(await storage._link.call(b"HGET", f"{storage.prefix}:usage:sizes", b"total") or 0)


async def test_a_save_over_the_limit_is_refused_and_changes_nothing(storage: RedisStorage) -> None:
    saved = await storage.artifacts.add("a", b"x" * (MIB - 1000))
    for size in [2000, 100_000]:
        with pytest.raises(StorageFullError, match="MAX_STORE_MB") as caught:
            await storage.artifacts.add("b", b"x" * size)
        assert caught.value.fields == {"max_bytes": MIB}
    with pytest.raises(StorageFullError, match="MAX_STORE_MB"):
        await storage.skills.add("f", "#" * 2000)
    assert await storage.artifacts.list() == [saved]
    assert await storage.skills.list() == []
    await storage.skills.add("f", "#" * 100)


async def test_what_is_replaced_or_removed_makes_room(storage: RedisStorage) -> None:
    for _ in range(5):
        await storage.artifacts.add("a", b"x" * 900_000)
    await storage.artifacts.add("a", b"x" * 10)
    await storage.artifacts.add("b", b"x" * 900_000)
    await storage.artifacts.remove("b")
    await storage.artifacts.add("c", b"x" * 900_000)
    for name in ["a", "c"]:
        await storage.artifacts.remove(name)
    assert await counted(storage) == 0


async def test_kept_versions_of_skills_count_until_they_go(storage: RedisStorage) -> None:
    for _ in range(40):
        await storage.skills.add("f", "#" * 40_000, overwrite=True)
    assert 20 * 40_000 < await counted(storage) < MIB
    with pytest.raises(StorageFullError):
        await storage.artifacts.add("x", b"x" * 300_000)
    await storage.skills.remove("f")
    assert await counted(storage) == 0


async def test_of_many_savers_no_more_get_in_than_fit(storage: RedisStorage) -> None:
    answers = await asyncio.gather(
        *(storage.artifacts.add(f"a{n}", b"x" * 100_000) for n in range(30)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, StorageFullError) for answer in answers) == 20
    assert len(await storage.artifacts.list()) == 10


async def test_what_others_removed_is_found_when_it_is_needed(storage: RedisStorage) -> None:
    for number in range(10):
        await storage.artifacts.add(f"a{number}", b"x" * 100_000)
    for number in range(5):
        await storage._link.call(b"DEL", f"{storage.prefix}:artifacts:a{number}")
    for number in range(5):
        await storage.artifacts.add(f"b{number}", b"x" * 100_000)
    with pytest.raises(StorageFullError):
        await storage.artifacts.add("c", b"x" * 100_000)


async def test_without_a_limit_nothing_is_refused(redis_storage: RedisStorage) -> None:
    await redis_storage.artifacts.add("a", b"x" * 3 * MIB)
    assert await counted(redis_storage) > 3 * MIB
