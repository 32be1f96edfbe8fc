"""The folder itself: errors of the disk, the lock, leftovers, what is created when."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from pathlib import Path

import pytest

from py_code_mode.errors import StorageFullError, StorageUnavailableError
from py_code_mode.store import draft, file_root
from py_code_mode.store.file import FileStorage


async def test_reading_an_absent_folder_finds_nothing_and_creates_nothing(
    storage: FileStorage, base: Path
) -> None:
    assert await storage.tools.list() == {}
    assert await storage.skills.list() == []
    assert await storage.artifacts.list() == []
    assert await storage.deps.list() == []
    assert await storage.tools.revision() == await storage.skills.revision()
    assert base.name not in os.listdir(base.parent)


async def test_the_layout_is_the_documented_one(storage: FileStorage, base: Path) -> None:
    await storage.tools.add("jq", "name: jq\n")
    await storage.skills.add("f", "x = 1\n")
    await storage.artifacts.add("a/b.txt", b"hello")
    await storage.deps.add("numpy")
    assert sorted(os.listdir(base)) == [
        ".state",
        "artifacts",
        "requirements.txt",
        "skills",
        "tools",
    ]
    assert (base / "tools" / "jq.yaml").read_text() == "name: jq\n"
    assert (base / "skills" / "f.py").read_text() == "x = 1\n"
    assert (base / "artifacts" / "a" / "b.txt").read_bytes() == b"hello"
    assert (base / "requirements.txt").read_text() == "numpy\n"
    assert os.listdir(base / ".state" / "tmp") == []


async def test_base_path_may_be_a_string_or_a_path(base: Path) -> None:
    await FileStorage(base_path=str(base)).tools.add("jq", "x")
    storage = FileStorage(base_path=base)
    assert await storage.tools.list() == {"jq": "x"}
    assert storage.describe() == f"files at {base}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_said_and_leaves_the_old_value(
    storage: FileStorage, base: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    saved = await storage.artifacts.add("a", b"old")
    await storage.skills.add("f", "x = 1")

    def full(descriptor: int, content: bytes) -> None:
        os.write(descriptor, content[:1])
        raise OSError(number, os.strerror(number))

    for module in (draft, file_root):
        monkeypatch.setattr(module, "write_all", full)
    with pytest.raises(StorageFullError, match=rf"^{base}/artifacts/a: .*; free some space"):
        await storage.artifacts.add("a", b"new")
    for ask in [
        storage.skills.add("f", "x = 2", overwrite=True),
        storage.tools.add("jq", "x"),
        storage.deps.add("numpy"),
    ]:
        with pytest.raises(StorageFullError):
            await ask
    assert os.listdir(base / ".state" / "tmp") == []
    assert await storage.artifacts.read("a") == (saved, b"old")
    assert (await storage.skills.get("f")).version == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
async def test_a_folder_that_is_read_only_can_be_read_and_says_why_not_written(
    storage: FileStorage, base: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await storage.tools.add("jq", "x")
    real = os.open

    def read_only(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(number, os.strerror(number), path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", read_only)
    assert await storage.tools.list() == {"jq": "x"}
    with pytest.raises(StorageUnavailableError, match=f"^{base}/tools: .*mount it writable"):
        await storage.tools.add("jq", "y")
    with pytest.raises(StorageUnavailableError, match="mount it writable"):
        await storage.check()


async def test_a_file_in_the_place_of_the_folder_is_said(base: Path) -> None:
    (base.parent / base.name).write_text("")
    storage = FileStorage(base)
    for ask in [storage.check(), storage.tools.add("jq", "x"), storage.tools.list()]:
        with pytest.raises(StorageUnavailableError, match=str(base)):
            await ask


async def test_a_link_in_the_place_of_a_collection_is_not_followed(
    storage: FileStorage, base: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f.py").write_text("secret")
    os.mkdir(base)
    for name in ["tools", "skills", "artifacts"]:
        (base / name).symlink_to(outside)
    for ask in [
        storage.skills.list(),
        storage.skills.get("f"),
        storage.skills.add("g", "x"),
        storage.artifacts.list(),
        storage.artifacts.read("f.py"),
        storage.artifacts.add("g", b"x"),
        storage.tools.add("g", "x"),
    ]:
        with pytest.raises(StorageUnavailableError, match="links are not followed"):
            await ask
    assert os.listdir(outside) == ["f.py"]


async def test_old_leftovers_of_killed_processes_are_swept(base: Path) -> None:
    drafts = base / ".state" / "tmp"
    drafts.mkdir(parents=True)
    (drafts / "old").write_text("x")
    (drafts / "young").write_text("x")
    long_ago = time.time() - file_root.LEFTOVER_AGE_S - 60
    os.utime(drafts / "old", (long_ago, long_ago))
    await FileStorage(base).tools.add("jq", "x")
    assert os.listdir(drafts) == ["young"]


async def test_a_folder_deleted_meanwhile_is_made_again(storage: FileStorage, base: Path) -> None:
    await storage.artifacts.add("a", b"x")
    for folder in [".state/tmp", ".state/artifacts", ".state", "artifacts"]:
        await asyncio.to_thread(
            os.rename, base / folder, base / f"gone{folder.count('/')}{folder[-1]}"
        )
    saved = await storage.artifacts.add("a", b"y")
    assert await storage.artifacts.read("a") == (saved, b"y")


async def test_a_writer_waits_for_the_lock_without_blocking_the_loop(
    storage: FileStorage, base: Path
) -> None:
    await storage.tools.add("jq", "x")
    with (base / ".state" / "lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writing = asyncio.create_task(storage.tools.add("jq", "y"))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not writing.done()
        assert await storage.tools.get("jq") == "x"
    await writing
    assert await storage.tools.get("jq") == "y"


async def test_a_lock_that_is_never_given_back_is_said(
    storage: FileStorage, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.tools.add("jq", "x")
    monkeypatch.setattr(file_root, "LOCK_TIMEOUT_S", 0.05)
    with (base / ".state" / "lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageUnavailableError, match="another process has held the lock"):
            await storage.tools.add("jq", "y")
    await storage.tools.add("jq", "z")
    assert os.listdir(base / ".state" / "tmp") == []
