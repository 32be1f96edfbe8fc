"""A folder that has not changed is told at once, and every change is heard."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from py_code_mode.store import file_watch
from py_code_mode.store.file import FileStorage
from py_code_mode.store.file_folders import listing_token
from py_code_mode.store.file_watch import FolderWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system is trusted, and for long: what is seen was heard."""
    monkeypatch.setattr(file_watch, "_is_local", lambda _kernel, _path: True)
    monkeypatch.setattr(file_watch, "_TRUSTED_S", 3600.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "skills"
    made.mkdir()
    (made / "a.py").write_text("a = 1")
    return made


class Looks:
    """Counts how often the folder is looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watch = FolderWatch(str(folder))
        self.count = 0

    def __call__(self) -> str:
        return self.watch.see(self._look)

    def _look(self) -> str:
        self.count += 1
        return listing_token(str(self.folder), (".py",))


def test_an_unchanged_folder_is_looked_at_once(folder: Path) -> None:
    looks = Looks(folder)
    assert len({looks() for _ in range(10)}) == 1
    assert looks.count == 1
    assert looks.watch.unchanged() == looks()


def rewritten(folder: Path) -> None:
    (folder / "a.py").write_text("a = 2")


def replaced(folder: Path) -> None:
    (folder.parent / "new").write_text("a = 3")
    (folder.parent / "new").replace(folder / "a.py")


def by_a_folder(folder: Path) -> None:
    folder.rename(folder.parent / "old")
    folder.mkdir()
    (folder / "b.py").write_text("b = 1")


def by_an_older_name(folder: Path) -> None:
    above = folder.parent
    above.rename(above.with_name("moved"))
    folder.mkdir(parents=True)


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten in place": rewritten,
    "replaced": replaced,
    "created": lambda folder: (folder / "b.py").write_text(""),
    "deleted": lambda folder: (folder / "a.py").unlink(),
    "renamed": lambda folder: (folder / "a.py").rename(folder / "c.py"),
    "linked": lambda folder: os.link(folder / "a.py", folder / "d.py"),
    "given another time": lambda folder: os.utime(folder / "a.py", (1, 1)),
    "the folder replaced": by_a_folder,
    "the folder above replaced": by_an_older_name,
    "by another process": lambda folder: subprocess.run(
        ["sh", "-c", f"echo b=1 >> '{folder}/a.py'"], check=True
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen_at_once(folder: Path, change: Callable[[Path], object]) -> None:
    looks = Looks(folder)
    before = looks()
    change(folder)
    assert looks.watch.unchanged() is None
    assert looks() != before
    assert looks.count == 2
    (folder / "last.py").write_text("")
    assert looks.watch.unchanged() is None


def test_a_folder_that_comes_and_goes_is_followed(tmp_path: Path) -> None:
    looks = Looks(tmp_path / "skills")
    empty = looks()
    looks.folder.mkdir()
    (looks.folder / "a.py").write_text("")
    assert looks() != empty
    (looks.folder / "a.py").unlink()
    looks.folder.rmdir()
    assert looks() == empty


def test_a_change_while_somebody_looks_is_not_lost(folder: Path) -> None:
    watch = FolderWatch(str(folder))

    def interrupted() -> str:
        token = listing_token(str(folder), (".py",))
        (folder / "b.py").write_text("")
        # Another thread asks, and takes the kernel's note.
        assert watch.unchanged() is None
        return token

    stale = watch.see(interrupted)
    assert watch.see(lambda: listing_token(str(folder), (".py",))) != stale


def test_it_is_not_trusted_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "_TRUSTED_S", 0.05)
    looks = Looks(folder)
    looks()
    time.sleep(0.1)
    looks()
    assert looks.count == 2


@pytest.mark.parametrize("what", ["_is_local", "_kernel"])
def test_where_the_kernel_cannot_be_trusted_every_call_looks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(file_watch, what, lambda *_: None)
    looks = Looks(folder)
    looks()
    looks()
    assert looks.count == 2


def test_watches_that_are_gone_leave_nothing_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        Looks(folder)()
    assert len(os.listdir("/proc/self/fd")) <= before + 5


async def test_a_search_does_not_look_at_a_thousand_files(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "store")
    for number in range(300):
        await storage.skills.add(f"skill_{number}", f"a = {number}")
    first = await storage.skills.revision()
    start = time.perf_counter()
    assert {await storage.skills.revision() for _ in range(100)} == {first}
    assert time.perf_counter() - start < 0.1
    await asyncio.gather(*(storage.skills.remove(f"skill_{n}") for n in range(3)))
    assert await storage.skills.revision() != first
