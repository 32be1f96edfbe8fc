"""Large bodies in a shared folder, their records in Redis."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from py_code_mode.errors import (
    ArtifactNotFoundError,
    ArtifactUnavailableError,
    InvalidArtifactNameError,
    StorageUnavailableError,
)
from py_code_mode.store.redis import RedisStorage

from .redis_storages import Open

LIMIT = 1000
SMALL, LARGE = b"x" * LIMIT, b"y" * (LIMIT + 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "share"


@pytest.fixture
def storage(
    open_storage: Open, shared_redis_url: str, redis_prefix: str, folder: Path
) -> RedisStorage:
    return open_storage(
        shared_redis_url, prefix=redis_prefix, artifacts_path=folder, inline_max=LIMIT
    )


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_only_bodies_over_the_limit_are_files_with_names_by_chance(
    storage: RedisStorage, folder: Path
) -> None:
    await storage.artifacts.add("small", SMALL)
    assert files(folder) == []
    saved = await storage.artifacts.add("Large/body.bin", LARGE)
    (file,) = files(folder)
    assert file.read_bytes() == LARGE
    assert len(file.name) == 32
    assert set(file.name) <= set("0123456789abcdef")
    assert await storage.artifacts.read("Large/body.bin") == (saved, LARGE)
    assert await storage.artifacts.read_at_most("Large/body.bin", len(LARGE)) == (saved, LARGE)
    assert await storage.artifacts.read_at_most("Large/body.bin", len(LARGE) - 1) == (saved, None)


async def test_a_replaced_or_removed_body_leaves_no_file(
    storage: RedisStorage, folder: Path
) -> None:
    for body in [LARGE, LARGE + b"2", SMALL, LARGE]:
        saved = await storage.artifacts.add("x", body)
        assert await storage.artifacts.read("x") == (saved, body)
        assert len(files(folder)) == (len(body) > LIMIT)
    await storage.artifacts.remove("x")
    assert files(folder) == []
    with pytest.raises(ArtifactNotFoundError):
        await storage.artifacts.read("x")


async def test_a_refused_save_leaves_no_file(storage: RedisStorage, folder: Path) -> None:
    await storage.artifacts.add("a", SMALL)
    with pytest.raises(InvalidArtifactNameError):
        await storage.artifacts.add("a/b", LARGE)
    assert files(folder) == []


async def test_a_missing_body_is_told_by_name(storage: RedisStorage, folder: Path) -> None:
    saved = await storage.artifacts.add("x", LARGE)
    files(folder)[0].unlink()
    with pytest.raises(ArtifactUnavailableError, match="mount the folder") as caught:
        await storage.artifacts.read("x")
    assert caught.value.name == "x"
    assert await storage.artifacts.list() == [saved]
    again = await storage.artifacts.add("x", LARGE)
    assert await storage.artifacts.read("x") == (again, LARGE)


async def test_a_replica_without_the_folder_says_what_to_set(
    storage: RedisStorage, open_storage: Open, shared_redis_url: str, redis_prefix: str
) -> None:
    saved = await storage.artifacts.add("x", LARGE)
    without = open_storage(shared_redis_url, prefix=redis_prefix)
    assert await without.artifacts.get("x") == saved
    with pytest.raises(ArtifactUnavailableError, match="ARTIFACTS_PATH is not set"):
        await without.artifacts.read("x")


async def test_a_record_cannot_name_a_file_outside(
    storage: RedisStorage, redis_prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s")
    await storage.artifacts.add("x", LARGE)
    key = f"{redis_prefix}:artifacts:x"
    for name in ["../../secret", "/etc/passwd", ".."]:
        await storage._link.call(b"HSET", key, b"body", name)
        with pytest.raises(ArtifactUnavailableError):
            await storage.artifacts.read("x")


async def test_a_folder_that_cannot_be_written_is_told(
    open_storage: Open, shared_redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    storage = open_storage(
        shared_redis_url, prefix=redis_prefix, artifacts_path=tmp_path / "file", inline_max=1
    )
    with pytest.raises(StorageUnavailableError, match="a real folder is needed"):
        await storage.artifacts.add("x", b"xx")
    assert await storage.artifacts.list() == []


async def test_what_no_record_names_is_swept_after_a_day(
    storage: RedisStorage, folder: Path
) -> None:
    await storage.artifacts.add("x", LARGE)
    (kept,) = files(folder)
    old = [kept.with_name(name) for name in ["0" * 32, f"{'1' * 32}.part"]]
    young, alien = kept.with_name("2" * 32), kept.with_name("notes.txt")
    yesterday = time.time() - 25 * 3600
    for file in [*old, young, alien]:
        file.write_bytes(b"")
    for file in [*old, kept, alien]:
        os.utime(file, (yesterday, yesterday))
    assert await storage.artifacts.sweep() == 2
    assert files(folder) == sorted([kept, young, alien])
    assert await storage.artifacts.sweep() == 0


async def test_a_save_sweeps_now_and_then_one_replica_at_a_time(
    storage: RedisStorage,
    open_storage: Open,
    shared_redis_url: str,
    redis_prefix: str,
    folder: Path,
) -> None:
    await storage.artifacts.add("x", LARGE)
    old = files(folder)[0].with_name("0" * 32)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    other = open_storage(
        shared_redis_url, prefix=redis_prefix, artifacts_path=folder, inline_max=LIMIT
    )
    await other.artifacts.add("y", LARGE)
    assert old.exists()
    await storage._link.call(b"DEL", f"{redis_prefix}:lock:sweep")
    third = open_storage(
        shared_redis_url, prefix=redis_prefix, artifacts_path=folder, inline_max=LIMIT
    )
    await third.artifacts.add("z", LARGE)
    assert not old.exists()


async def test_prefixes_share_a_folder_without_sweeping_each_other(
    storage: RedisStorage,
    open_storage: Open,
    shared_redis_url: str,
    redis_prefix: str,
    folder: Path,
) -> None:
    await storage.artifacts.add("x", LARGE)
    for file in files(folder):
        os.utime(file, (0, 0))
    other = open_storage(
        shared_redis_url, prefix=f"{redis_prefix}:other", artifacts_path=folder, inline_max=LIMIT
    )
    assert await other.artifacts.sweep() == 0
    assert len((await storage.artifacts.read("x"))[1]) == LIMIT + 1


async def test_a_reader_during_replacement_gets_old_or_new(storage: RedisStorage) -> None:
    async def write() -> None:
        for number in range(80):
            body = b"%d" % number * LIMIT * 2
            await storage.artifacts.add("x", body, description=str(len(body)))

    async def read() -> None:
        while not writing.done():
            saved, body = await storage.artifacts.read("x")
            assert (saved.size, saved.description) == (len(body), str(len(body)))

    await storage.artifacts.add("x", LARGE, description=str(len(LARGE)))
    writing = asyncio.create_task(write())
    await asyncio.gather(read(), read(), writing)
