"""The largest artifact that agent code may save, on each storage."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from py_code_mode import FileStorage, RedisStorage, Session
from py_code_mode.store.base import Store
from redis_server import redis_prefix, shared_redis_url

__all__ = ["redis_prefix", "shared_redis_url"]


@pytest.mark.parametrize("kind", ["file", "redis"])
async def test_64_mb_are_saved_and_loaded_in_bounded_memory(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store: Store = FileStorage(tmp_path)
    if kind == "redis":
        url = request.getfixturevalue("shared_redis_url")
        store = RedisStorage(url, prefix=request.getfixturevalue("redis_prefix"))
    async with Session(store) as session:
        await session.run("1")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = await session.run(
            "body = bytes(range(256)) * 250_000\n"
            "artifacts.save('large', body)\n"
            "artifacts.load('large') == body, len(body)"
        )
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert result.value == [True, 64_000_000], result.error
    assert grown_mb < 400
