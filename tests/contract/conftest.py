"""One ``store`` fixture for every back end; a test here holds for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryStorage
from py_code_mode.store.overlay import OverlayStorage
from py_code_mode.store.redis import RedisStorage
from redis_server import redis_prefix, shared_redis_url

__all__ = ["redis_prefix", "shared_redis_url"]


@pytest.fixture(params=["memory", "file", "redis", "redis-with-folder", "overlay"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = _open(request, tmp_path)
    yield opened
    await opened.aclose()


def _open(request: pytest.FixtureRequest, folder: Path) -> Store:
    if request.param == "memory":
        return MemoryStorage()
    if request.param == "overlay":
        (folder / "config").mkdir()
        return OverlayStorage(MemoryStorage(), folder / "config")
    if request.param == "file":
        return FileStorage(folder / "store")
    return RedisStorage(
        request.getfixturevalue("shared_redis_url"),
        prefix=request.getfixturevalue("redis_prefix"),
        # Every body but the empty one as a file of the shared folder.
        artifacts_path=folder / "bodies" if request.param == "redis-with-folder" else None,
        inline_max=0,
    )
