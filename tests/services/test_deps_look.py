"""A run looks whether the packages have changed; no store, slow or away, holds it up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from packages.wheels import wheel
from py_code_mode.errors import StorageUnavailableError
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.services import deps as service
from py_code_mode.services.deps import DepsService
from py_code_mode.store.memory import MemoryDeps


class SlowDeps(MemoryDeps):
    """A list that takes its time to answer, or does not; counts who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.away = False

    async def list(self) -> list[str]:
        self.asked += 1
        found = await super().list()
        await self.answers.wait()
        if self.away:
            raise StorageUnavailableError("the store does not answer")
        return found


@pytest.fixture
def store() -> SlowDeps:
    return SlowDeps()


@pytest.fixture
def deps(store: SlowDeps, tmp_path: Path) -> DepsService:
    wheel(tmp_path, "one")
    wheel(tmp_path, "two")
    installer = PackageInstaller(
        tmp_path / "cache", environ={}, find_links=[tmp_path], offline=True, compile_bytecode=False
    )
    return DepsService(store, installer, runtime_allowed=True)


async def test_sessions_that_ask_at_once_share_one_look(deps: DepsService, store: SlowDeps) -> None:
    await deps.add("one")
    before = store.asked
    answers = await asyncio.gather(*(deps.current() for _ in range(50)))
    assert store.asked == before + 1
    assert {answer.resolved for answer in answers if answer is not None} == {("one==1.0",)}


async def test_a_store_that_hangs_costs_one_run_a_moment_and_the_others_nothing(
    deps: DepsService, store: SlowDeps
) -> None:
    await deps.add("one")
    store.answers.clear()
    before, started = store.asked, time.monotonic()
    folders = await asyncio.gather(*(deps.current() for _ in range(50)))
    assert 0.2 < time.monotonic() - started < 0.4
    started = time.monotonic()
    folders += [await deps.current() for _ in range(50)]
    assert time.monotonic() - started < 0.1
    assert store.asked == before + 1
    assert {folder.resolved for folder in folders if folder is not None} == {("one==1.0",)}
    store.answers.set()
    assert await deps.current() is not None


async def test_a_store_that_is_away_is_asked_again_after_a_pause(
    deps: DepsService, store: SlowDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PAUSE_S", 0.2)
    await deps.add("one")
    store.away = True
    before = store.asked
    for _ in range(20):
        assert await deps.current() is not None
    assert store.asked == before + 1
    store.away = False
    await store.remove("one")
    await asyncio.sleep(0.25)
    assert await deps.current() is None


async def test_a_look_that_never_ends_is_given_up(
    deps: DepsService, store: SlowDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_LOOK_S", 0.1)
    monkeypatch.setattr(service, "_PAUSE_S", 0.0)
    store.answers.clear()
    assert await deps.current() is None
    store.answers.set()
    await deps.add("one")
    assert await deps.current() is not None


async def test_what_is_added_during_a_look_is_not_undone_by_it(
    deps: DepsService, store: SlowDeps
) -> None:
    store.answers.clear()
    looking = asyncio.create_task(deps.current())
    await asyncio.sleep(0.01)  # it has read the list, which is empty
    store.answers.set()
    await deps.add("one")
    await looking
    assert deps.folder != ""
    assert (await deps.list()) == ["one"]


async def test_a_caller_that_goes_leaves_the_look_to_the_others(
    deps: DepsService, store: SlowDeps
) -> None:
    await deps.add("one")
    store.answers.clear()
    first, second = (asyncio.create_task(deps.current()) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)
    store.answers.set()
    assert await second is not None
    assert first.cancelled()
