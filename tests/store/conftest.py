"""A file storage in an empty folder, a Redis storage below an own prefix, and what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_code_mode.store.file import FileStorage
from redis_server import redis_prefix, redis_servers, shared_redis_url

from .redis_storages import open_storage, redis_storage, round_trips

__all__ = [
    "open_storage",
    "redis_prefix",
    "redis_servers",
    "redis_storage",
    "round_trips",
    "shared_redis_url",
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def storage(base: Path) -> FileStorage:
    return FileStorage(base)
