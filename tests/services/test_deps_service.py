"""The list of packages and what is installed stay together, whoever changes the list."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from pathlib import Path

import pytest

from packages.wheels import wheel
from py_code_mode.errors import (
    DepInstallError,
    DepNotFoundError,
    DepsError,
    InvalidDepError,
    RuntimeDepsDisabledError,
    StorageUnavailableError,
)
from py_code_mode.packages.folders import PackageFolder
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.services.deps import DepsService
from py_code_mode.services.dispatch import Dispatcher
from py_code_mode.store.base import DepStore
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryDeps


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("one", "two"):
        for version in ("1.0", "2.0"):
            wheel(folder, name, version)
    return folder


@pytest.fixture
def store() -> MemoryDeps:
    return MemoryDeps()


@pytest.fixture
def deps(store: MemoryDeps, tmp_path: Path, links: Path) -> DepsService:
    return DepsService(store, installer_at(tmp_path / "cache", links), runtime_allowed=True)


def installer_at(cache: Path, links: Path) -> PackageInstaller:
    return PackageInstaller(
        cache, environ={}, find_links=[links], offline=True, compile_bytecode=False
    )


def modules(folder: PackageFolder | None) -> list[str]:
    assert folder is not None
    return sorted(name for name in os.listdir(folder.path) if name.endswith(".py"))


async def test_what_is_added_is_installed_listed_and_current(deps: DepsService) -> None:
    assert await deps.list() == []
    assert await deps.sync() == []
    assert await deps.current() is None
    assert await deps.add("One>=1") == ["one>=1"]
    assert await deps.add("two<2") == ["one>=1", "two<2"]
    assert await deps.list() == ["one>=1", "two<2"]
    assert await deps.sync() == ["one==2.0", "two==1.0"]
    folder = await deps.current()
    assert modules(folder) == ["one.py", "two.py"]
    assert folder is not None
    assert folder.resolved == ("one==2.0", "two==1.0")


async def test_adding_a_package_again_replaces_its_spec(
    deps: DepsService, store: MemoryDeps
) -> None:
    await store.add("ONE == 2.0")
    assert await deps.add("one<2") == ["one<2"]
    assert await deps.sync() == ["one==1.0"]
    assert await deps.add("one<2") == ["one<2"]


async def test_what_cannot_be_installed_changes_nothing(deps: DepsService) -> None:
    await deps.add("one")
    before = await deps.current()
    with pytest.raises(DepInstallError, match="missing could not be installed"):
        await deps.add("missing")
    with pytest.raises(DepInstallError, match=r"one could not be installed: no version fits"):
        await deps.add("one>=3")
    with pytest.raises(InvalidDepError, match="is a URL"):
        await deps.add("two @ https://127.0.0.1/two.whl")
    assert await deps.list() == ["one"]
    assert await deps.current() == before
    assert await deps.add("two") == ["one", "two"]


async def test_removing_takes_a_package_out_of_the_folder(deps: DepsService) -> None:
    await deps.add("one")
    await deps.add("two")
    assert await deps.remove("ONE") == ["two"]
    assert modules(await deps.current()) == ["two.py"]
    assert await deps.remove("two") == []
    assert await deps.current() is None


async def test_removing_what_is_not_there_names_close_matches(deps: DepsService) -> None:
    with pytest.raises(DepNotFoundError, match=r"'one' is not in the list$"):
        await deps.remove("one")
    await deps.add("one")
    with pytest.raises(DepNotFoundError, match=r"did you mean 'one'\?"):
        await deps.remove("ones")
    with pytest.raises(DepNotFoundError, match=r"there are: one$"):
        await deps.remove("../x")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("-r x", "'-r x' is an option"),
        ("evil @ https://127.0.0.1/x", "'evil @ https://127.0.0.1/x' is a URL"),
        ("evil; python_version>'3'", "has an environment marker"),
        ("a\x1b[2J", "has a line break, a control character"),
        ("missing", "missing could not be installed"),
    ],
)
async def test_what_others_put_into_the_list_is_named_and_can_be_removed(
    deps: DepsService, store: MemoryDeps, spec: str, named: str
) -> None:
    await deps.add("two")
    before = await deps.current()
    store._specs.add(spec)  # as another client of the same store may
    shown = next(text for text in await deps.list() if text != "two")
    for change in (deps.sync(), deps.add("one")):
        with pytest.raises(DepsError, match=re.escape(named)):
            await change
    assert await deps.current() == before
    assert await deps.remove(shown) == ["two"]
    assert await deps.sync() == ["two==2.0"]
    assert deps.failure is None


async def test_several_broken_specs_can_be_removed_one_by_one(
    deps: DepsService, store: MemoryDeps
) -> None:
    await store.add("missing", "absent", "one")
    assert await deps.remove("missing") == ["absent", "one"]
    assert deps.failure is not None
    assert await deps.remove("absent") == ["one"]
    assert deps.failure is None
    assert modules(await deps.current()) == ["one.py"]


async def test_with_runtime_changes_off_listing_and_installing_still_work(
    store: MemoryDeps, tmp_path: Path, links: Path
) -> None:
    await store.add("one")
    deps = DepsService(store, installer_at(tmp_path / "cache", links), runtime_allowed=False)
    for change in (deps.add("two"), deps.remove("one")):
        with pytest.raises(RuntimeDepsDisabledError) as raised:
            await change
        assert raised.value.code == "runtime_deps_disabled"
    assert await deps.list() == ["one"]
    assert await deps.sync() == ["one==2.0"]


async def test_a_change_by_others_is_seen_by_the_next_call(tmp_path: Path, links: Path) -> None:
    base = tmp_path / "base"
    cache = tmp_path / "cache"
    storage = FileStorage(base)
    deps = DepsService(storage.deps, installer_at(cache, links), runtime_allowed=True)
    await deps.add("one")
    (base / "requirements.txt").write_text("# by hand\none\ntwo < 2  # pinned\n")
    assert await deps.list() == ["one", "two < 2"]
    assert modules(await deps.current()) == ["one.py"]
    assert await deps.sync() == ["one==2.0", "two==1.0"]
    assert modules(await deps.current()) == ["one.py", "two.py"]
    other = DepsService(storage.deps, installer_at(cache, links), runtime_allowed=True)
    assert await other.current() == await deps.current()
    await other.remove("two")
    assert modules(await deps.current()) == ["one.py"]


async def test_a_list_that_failed_is_tried_again_unasked_once_it_has_changed(
    deps: DepsService, store: MemoryDeps, links: Path
) -> None:
    assert await deps.ensure() is None
    await store.add("missing", "one")
    with pytest.raises(DepInstallError, match="missing") as first:
        await deps.ensure()
    assert deps.failure is first.value
    wheel(links, "missing")
    with pytest.raises(DepInstallError) as again:
        await deps.ensure()
    assert again.value is not first.value
    assert again.value.message == first.value.message
    assert again.value.fields == first.value.fields
    await store.add("two")
    assert modules(await deps.ensure()) == ["missing.py", "one.py", "two.py"]
    assert deps.failure is None


async def test_asking_for_it_tries_a_failed_list_again(
    deps: DepsService, store: MemoryDeps, links: Path
) -> None:
    await store.add("missing")
    with pytest.raises(DepInstallError):
        await deps.sync()
    wheel(links, "missing")
    assert await deps.sync() == ["missing==1.0"]
    assert modules(await deps.ensure()) == ["missing.py"]


async def test_changes_made_at_once_end_in_a_set_that_is_installed(deps: DepsService) -> None:
    await asyncio.gather(deps.add("one<2"), deps.add("two<2"), deps.add("one"))
    listed = await deps.list()
    assert len(listed) == 2
    folder = await deps.current()
    assert modules(folder) == ["one.py", "two.py"]
    assert folder is not None
    assert list(folder.resolved) == await deps.sync()


class Unreachable(MemoryDeps):
    async def list(self) -> list[str]:
        raise StorageUnavailableError("the store does not answer")


async def test_sessions_keep_their_packages_while_the_store_is_down(
    deps: DepsService, store: MemoryDeps
) -> None:
    await deps.add("one")
    before = await deps.current()
    store.__class__ = Unreachable
    assert await deps.current() == before
    with pytest.raises(StorageUnavailableError):
        await deps.list()


async def test_a_folder_that_was_swept_is_no_longer_current(
    deps: DepsService, tmp_path: Path
) -> None:
    await deps.add("one")
    for record in (tmp_path / "cache" / "packages").glob("*/resolved.txt"):
        record.unlink()
    assert await deps.current() is None
    assert await deps.ensure() is not None
    assert modules(await deps.current()) == ["one.py"]


class Shared:
    """Resolutions of all replicas, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, ...]] = {}

    async def get(self, key: str) -> tuple[str, ...]:
        return self.kept.get(key, ())

    async def settle(self, key: str, resolved: tuple[str, ...]) -> tuple[str, ...]:
        return self.kept.setdefault(key, resolved)


class Late(Shared):
    """The same, asked before the other replica had resolved and told after it had."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self._shared = shared

    async def settle(self, key: str, resolved: tuple[str, ...]) -> tuple[str, ...]:
        return await self._shared.settle(key, resolved)


def replica(store: DepStore, cache: Path, links: Path, shared: Shared) -> DepsService:
    installer = installer_at(cache, links)
    return DepsService(store, installer, runtime_allowed=True, resolutions=shared)


async def test_every_replica_installs_the_same_versions(
    store: MemoryDeps, tmp_path: Path, links: Path
) -> None:
    shared = Shared()
    first = replica(store, tmp_path / "first", links, shared)
    await first.add("one")
    wheel(links, "one", "3.0")
    second = replica(store, tmp_path / "second", links, shared)
    assert await second.current() is None
    assert await second.sync() == ["one==2.0"]
    restarted = replica(store, tmp_path / "second", links, shared)
    assert await restarted.current() == await second.current()


async def test_of_two_replicas_that_resolve_at_once_one_decides(
    store: MemoryDeps, tmp_path: Path, links: Path
) -> None:
    shared = Shared()
    first = replica(store, tmp_path / "first", links, shared)
    await store.add("one")
    assert await first.sync() == ["one==2.0"]
    wheel(links, "one", "3.0")
    second = replica(store, tmp_path / "second", links, Late(shared))
    assert await second.sync() == ["one==2.0"]
    restarted = replica(store, tmp_path / "second", links, shared)
    current = await restarted.current()
    assert current is not None
    assert current.resolved == ("one==2.0",)


async def test_agent_code_meets_four_operations(deps: DepsService) -> None:
    door = Dispatcher({"deps": deps})
    signatures = {
        operation["name"]: operation["signature"] for operation in door.describe()["deps"]
    }
    assert signatures == {
        "add": "(spec: str) -> list[str]",
        "remove": "(name: str) -> list[str]",
        "list": "() -> list[str]",
        "sync": "() -> list[str]",
    }
    assert await door.call("deps", "add", ["one"], {}) == ["one"]


async def test_nothing_to_do_takes_a_few_milliseconds(tmp_path: Path, links: Path) -> None:
    storage = FileStorage(tmp_path / "base")
    deps = DepsService(storage.deps, installer_at(tmp_path / "cache", links), runtime_allowed=True)
    await deps.add("one")
    await deps.add("two")

    async def took_s() -> float:
        start = time.perf_counter()
        await deps.sync()
        return time.perf_counter() - start

    assert statistics.median([await took_s() for _ in range(50)]) < 0.005


async def test_a_session_may_ask_before_each_run_at_no_cost(
    deps: DepsService, store: MemoryDeps
) -> None:
    await deps.add("one")
    folder = await deps.current(max_age_s=60)
    await store.remove("one")
    assert await deps.current(max_age_s=60) == folder
    await deps.add("two")
    assert modules(await deps.current(max_age_s=60)) == ["two.py"]
    await store.remove("two")
    assert await deps.current() is None
