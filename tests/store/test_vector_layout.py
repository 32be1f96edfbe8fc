"""Where search vectors lie in files and in Redis, and what a crash or a switch leaves behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import redis

from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis import RedisStorage
from py_code_mode.store.vector_space import UNUSED_DAYS, VectorSpace

SPACE = VectorSpace("static-1", "skills")
KEYS = [bytes([number]) * 16 for number in range(3)]
VECTORS = {key: key[:1] * 8 for key in KEYS}


async def test_vectors_are_one_file_for_each_embedder_and_collection(
    storage: FileStorage, base: Path
) -> None:
    await storage.vectors.put_many(SPACE, VECTORS)
    assert (base / ".state" / "vectors" / "static-1" / "skills.bin").is_file()
    await storage.vectors.put_many(VectorSpace("../a/b", "tools"), VECTORS)
    assert len([*(base / ".state" / "vectors").iterdir()]) == 2
    assert [each.name for each in base.iterdir()] == [".state"]


async def test_a_record_that_was_never_finished_is_passed_over_and_then_gone(
    storage: FileStorage, base: Path
) -> None:
    await storage.vectors.put_many(SPACE, VECTORS)
    file = base / ".state" / "vectors" / "static-1" / "skills.bin"
    file.write_bytes(file.read_bytes()[:-5])
    left = {key: VECTORS[key] for key in KEYS[:2]}
    assert await storage.vectors.load(SPACE) == left
    await storage.vectors.put_many(SPACE, {KEYS[2]: b"later..."})
    assert await storage.vectors.load(SPACE) == {**left, KEYS[2]: b"later..."}


async def test_a_damaged_record_is_passed_over(storage: FileStorage, base: Path) -> None:
    await storage.vectors.put_many(SPACE, VECTORS)
    file = base / ".state" / "vectors" / "static-1" / "skills.bin"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert await storage.vectors.load(SPACE) == {key: VECTORS[key] for key in KEYS[:2]}
    file.write_bytes(b"something else")
    assert await storage.vectors.load(SPACE) == {}
    await storage.vectors.put_many(SPACE, VECTORS)
    assert await storage.vectors.load(SPACE) == VECTORS


async def test_vectors_of_another_length_take_the_place_of_all(storage: FileStorage) -> None:
    await storage.vectors.put_many(SPACE, VECTORS)
    await storage.vectors.put_many(SPACE, {KEYS[0]: b"four"})
    assert await storage.vectors.load(SPACE) == {KEYS[0]: b"four"}


async def test_files_of_an_embedder_that_nobody_uses_are_removed(
    storage: FileStorage, base: Path
) -> None:
    folder = base / ".state" / "vectors"
    for name in ("old", "used", "recent"):
        await storage.vectors.put_many(VectorSpace(name, "skills"), VECTORS)
    long_ago = time.time() - (UNUSED_DAYS + 1) * 86_400
    for name in ("old", "used"):
        os.utime(folder / name / "skills.bin", (long_ago, long_ago))
    await storage.vectors.load(VectorSpace("used", "skills"))
    await storage.vectors.put_many(VectorSpace("new", "skills"), VECTORS)
    assert sorted(each.name for each in folder.iterdir()) == ["new", "recent", "used"]


async def test_vectors_in_redis_are_a_hash_that_expires_when_nobody_uses_it(
    redis_storage: RedisStorage, redis_prefix: str, shared_redis_url: str
) -> None:
    await redis_storage.vectors.put_many(SPACE, VECTORS)
    key = f"{redis_prefix}:vectors:static-1:skills"
    with redis.Redis.from_url(shared_redis_url) as foreign:
        assert foreign.hgetall(key) == VECTORS
        foreign.expire(key, 100)
        await redis_storage.vectors.load(SPACE)
        assert foreign.ttl(key) > (UNUSED_DAYS - 1) * 86_400
        async with redis_storage.vectors.lock(SPACE):
            lock = f"{redis_prefix}:lock:vectors:static-1:skills"
            assert 0 < foreign.pttl(lock) <= 30_000
        assert not foreign.exists(lock)
