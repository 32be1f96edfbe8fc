"""Every replica installs the versions that the first one got."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
import redis

from packages.wheels import wheel
from py_code_mode.models import Limits
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.services.registry import Services
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryStorage
from py_code_mode.store.redis import RedisStorage

from .redis_storages import Open


def replica(storage: RedisStorage, cache: Path, links: Path) -> Services:
    installer = PackageInstaller(
        cache, environ={}, find_links=[links], offline=True, compile_bytecode=False
    )
    return Services(storage, limits=Limits(), installer=installer)


async def test_two_replicas_of_a_store_install_the_same_versions(
    redis_storage: RedisStorage,
    open_storage: Open,
    shared_redis_url: str,
    redis_prefix: str,
    tmp_path: Path,
) -> None:
    links = tmp_path / "wheels"
    links.mkdir()
    wheel(links, "one", "1.0")
    first = replica(redis_storage, tmp_path / "first", links)
    assert await first.deps.add("one") == ["one"]
    wheel(links, "one", "2.0")
    other = open_storage(shared_redis_url, prefix=redis_prefix)
    second = replica(other, tmp_path / "second", links)
    assert await second.deps.sync() == await first.deps.sync() == ["one==1.0"]


async def test_the_first_resolution_of_a_key_stays(
    redis_storage: RedisStorage, open_storage: Open, shared_redis_url: str, redis_prefix: str
) -> None:
    other = open_storage(shared_redis_url, prefix=redis_prefix)
    assert await other.resolutions.get("k") == ()
    answers = await asyncio.gather(
        *(other.resolutions.settle("k", (f"a=={n}",)) for n in range(10)),
        redis_storage.resolutions.settle("k", ("a==99",)),
    )
    assert len(set(answers)) == 1
    assert await redis_storage.resolutions.get("k") == await other.resolutions.get("k")
    assert await redis_storage.resolutions.get("k") == answers[0]


async def test_a_resolution_is_a_list_for_everyone_to_read(
    redis_storage: RedisStorage,
    redis_prefix: str,
    shared_redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await redis_storage.resolutions.settle("k", ("a==1", "b==2"))
    with redis.Redis.from_url(shared_redis_url) as client:
        text = client.get(f"{redis_prefix}:resolved:k")
        assert isinstance(text, bytes)
        assert json.loads(text) == ["a==1", "b==2"]
        client.set(f"{redis_prefix}:resolved:k", "{")
    with caplog.at_level(logging.WARNING):
        assert await redis_storage.resolutions.get("k") == ()
    assert "is no list of versions" in caplog.text
    assert await redis_storage.resolutions.settle("k", ("a==3",)) == ("a==3",)


def test_storages_of_one_host_share_none(tmp_path: Path) -> None:
    assert FileStorage(tmp_path).resolutions is None
    assert MemoryStorage().resolutions is None
