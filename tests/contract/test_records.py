"""Records that expire: the same on every back end."""

from __future__ import annotations

import asyncio

import pytest

from py_code_mode.store.base import Store


async def test_a_record_is_there_until_its_time_is_over(store: Store) -> None:
    await store.records.put("session:a", b"\x00one", ttl_s=60)
    await store.records.put("session:b", b"two", ttl_s=0.05)
    assert await store.records.get("session:a") == b"\x00one"
    await store.records.put("session:a", b"", ttl_s=60)
    assert await store.records.get("session:a") == b""
    await asyncio.sleep(0.06)
    assert await store.records.get("session:b") is None
    assert await store.records.get("session:never") is None


async def test_of_many_claimants_one_is_first_and_the_others_get_what_it_wrote(
    store: Store,
) -> None:
    values = [f"claim {i}".encode() for i in range(20)]
    answers = await asyncio.gather(
        *(store.records.claim("execution:s:1", value, ttl_s=60) for value in values)
    )
    assert answers.count(None) == 1
    winner = values[answers.index(None)]
    assert {answer for answer in answers if answer is not None} == {winner}


async def test_a_claim_that_ended_can_be_made_again(store: Store) -> None:
    assert await store.records.claim("execution:s:1", b"one", ttl_s=0.05) is None
    await asyncio.sleep(0.06)
    assert await store.records.claim("execution:s:1", b"two", ttl_s=60) is None
    await store.records.remove("execution:s:1")
    await store.records.remove("execution:s:1")
    assert await store.records.claim("execution:s:1", b"three", ttl_s=60) is None


@pytest.mark.parametrize("key", ["session:a.b_c-d", "session:" + "x" * 128, "execution:a:b"])
async def test_records_of_similar_keys_are_apart(store: Store, key: str) -> None:
    await store.records.put(key, key.encode(), ttl_s=60)
    await store.records.put(key[:-1], b"shorter", ttl_s=60)
    assert await store.records.get(key) == key.encode()


async def test_many_records_are_had_at_once(store: Store) -> None:
    await store.records.put("ask:a", b"1", ttl_s=60)
    await store.records.put("ask:b", b"2", ttl_s=0.05)
    await store.records.put("ask:c", b"", ttl_s=60)
    await asyncio.sleep(0.06)
    assert await store.records.get_many(["ask:a", "ask:b", "ask:c", "ask:d"]) == {
        "ask:a": b"1",
        "ask:c": b"",
    }
    assert await store.records.get_many([]) == {}
