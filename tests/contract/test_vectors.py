"""What every storage does with search vectors, whatever is behind it."""

from __future__ import annotations

import asyncio

import pytest

from py_code_mode.errors import SearchUnavailableError
from py_code_mode.store import file_vectors, memory, redis_vectors
from py_code_mode.store.base import Store
from py_code_mode.store.vector_space import VectorSpace

SPACE = VectorSpace("static-1", "skills")
ODD_IDS = ["openai-m@h:1/v1", "../../etc", ".", "", "a" * 300, "ü/日本 語", "\ud800", "a:b"]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def vectors(*numbers: int, length: int = 8) -> dict[bytes, bytes]:
    return {key(number): bytes([number % 256]) * length for number in numbers}


async def test_an_unknown_space_is_empty(store: Store) -> None:
    assert await store.vectors.load(SPACE) == {}
    assert await store.vectors.get_many(SPACE, [key(1)]) == {}
    await store.vectors.remove(SPACE, [key(1)])
    await store.vectors.put_many(SPACE, {})
    assert await store.vectors.load(SPACE) == {}


async def test_what_was_put_is_there_and_what_was_removed_is_not(store: Store) -> None:
    await store.vectors.put_many(SPACE, vectors(1, 2))
    await store.vectors.put_many(SPACE, vectors(3))
    assert await store.vectors.load(SPACE) == vectors(1, 2, 3)
    assert await store.vectors.get_many(SPACE, [key(3), key(4), key(1)]) == vectors(1, 3)
    await store.vectors.remove(SPACE, [key(1), key(9)])
    assert await store.vectors.load(SPACE) == vectors(2, 3)
    await store.vectors.put_many(SPACE, vectors(1))
    assert await store.vectors.load(SPACE) == vectors(1, 2, 3)


async def test_of_one_hash_the_later_vector_stays(store: Store) -> None:
    await store.vectors.put_many(SPACE, {key(1): b"a" * 8})
    await store.vectors.put_many(SPACE, {key(1): b"b" * 8})
    assert await store.vectors.load(SPACE) == {key(1): b"b" * 8}


async def test_spaces_know_nothing_of_each_other(store: Store) -> None:
    others = [VectorSpace("static-2", "skills"), VectorSpace("static-1", "tools")]
    for number, space in enumerate([SPACE, *others]):
        await store.vectors.put_many(space, vectors(number, length=4 * (number + 1)))
    await store.vectors.remove(others[0], [key(1)])
    assert await store.vectors.load(SPACE) == vectors(0, length=4)
    assert await store.vectors.load(others[0]) == {}
    assert await store.vectors.load(others[1]) == vectors(2, length=12)


@pytest.mark.parametrize("embedder", ODD_IDS)
async def test_an_embedder_may_have_any_id(store: Store, embedder: str) -> None:
    space = VectorSpace(embedder, "tools")
    async with store.vectors.lock(space):
        await store.vectors.put_many(space, vectors(1))
    assert await store.vectors.load(space) == vectors(1)
    assert await store.tools.list() == {}
    assert await store.artifacts.list() == []


async def test_many_vectors_come_back_whole(store: Store) -> None:
    many = vectors(*range(5000), length=256)
    await store.vectors.put_many(SPACE, many)
    assert await store.vectors.load(SPACE) == many
    await store.vectors.remove(SPACE, list(many)[10:])
    assert await store.vectors.load(SPACE) == vectors(*range(10), length=256)


async def test_writers_at_the_same_time_lose_nothing(store: Store) -> None:
    await asyncio.gather(*(store.vectors.put_many(SPACE, vectors(n)) for n in range(20)))
    assert await store.vectors.load(SPACE) == vectors(*range(20))


async def test_the_lock_has_one_holder_for_each_space(store: Store) -> None:
    inside = 0

    async def hold() -> None:
        nonlocal inside
        async with store.vectors.lock(SPACE):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    async with store.vectors.lock(VectorSpace("other", "skills")):
        await asyncio.wait_for(asyncio.gather(*(hold() for _ in range(5))), 10)


async def test_the_lock_is_free_after_an_error_and_after_a_cancellation(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.vectors.lock(SPACE):
            _ = 1 / 0

    async def hold() -> None:
        async with store.vectors.lock(SPACE):
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10), store.vectors.lock(SPACE):
        pass


async def test_who_waits_too_long_for_the_lock_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory, file_vectors, redis_vectors):
        monkeypatch.setattr(module, "LOCK_WAIT_S", 0.05)
    async with store.vectors.lock(SPACE):
        with pytest.raises(SearchUnavailableError, match="search again in a while"):
            async with store.vectors.lock(SPACE):
                pass
