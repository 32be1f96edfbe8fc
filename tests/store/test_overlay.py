"""A folder of the operator's in front of a store: what is in it wins, and stays as it is."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from py_code_mode import Limits, MemoryStorage
from py_code_mode.errors import (
    CodeModeError,
    ConfigurationError,
    SkillNotFoundError,
    SkillProtectedError,
    ToolError,
)
from py_code_mode.services.registry import Services
from py_code_mode.store.base import Store
from py_code_mode.store.overlay import OverlayStorage

TOOL = "name: {name}\ndescription: {about}\ncommand: echo\n"
SKILL = '"""{about}"""\n\n\ndef run() -> str:\n    return "{about}"\n'


def tool(name: str, about: str = "Echoes.") -> str:
    return TOOL.format(name=name, about=about)


def skill(about: str) -> str:
    return SKILL.format(about=about)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a person would write it."""
    folder = tmp_path / "config"
    for below in ("tools", "skills"):
        (folder / below).mkdir(parents=True)
    (folder / "tools" / "nmap.yaml").write_text(tool("nmap", "Of the operator."))
    (folder / "skills" / "greet.py").write_text(skill("Of the operator."))
    return folder


@pytest.fixture
async def own() -> MemoryStorage:
    """A store with some of its own, partly under the same names."""
    store = MemoryStorage()
    await store.tools.add("nmap", tool("nmap", "Of the store."))
    await store.tools.add("curl", tool("curl"))
    await store.skills.add("greet", skill("Of the store."), origin="agent")
    await store.skills.add("count", skill("Counts."), origin="agent")
    return store


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)


async def test_the_folder_wins_on_a_name_and_all_others_are_there(
    own: MemoryStorage, folder: Path
) -> None:
    store: Store = OverlayStorage(own, folder)
    assert list((await store.tools.list()).items()) == [
        ("curl", tool("curl")),
        ("nmap", tool("nmap", "Of the operator.")),
    ]
    assert await store.tools.get("nmap") == tool("nmap", "Of the operator.")
    assert await store.tools.get("curl") == tool("curl")
    assert [(each.name, each.origin, each.version) for each in await store.skills.list()] == [
        ("count", "agent", 1),
        ("greet", "config", 1),
    ]
    assert (await store.skills.get("greet")).source == skill("Of the operator.")
    assert (await store.skills.get("greet", 1)).author == "config"
    with pytest.raises(SkillNotFoundError, match="has no version 2; kept: 1"):
        await store.skills.get("greet", 2)
    with pytest.raises(SkillNotFoundError, match="close: 'count'"):
        await store.skills.get("counts")


async def test_nobody_changes_what_is_in_the_folder(own: MemoryStorage, folder: Path) -> None:
    services = Services(OverlayStorage(own, folder), limits=Limits())
    for door in (services.agent, services.api):
        arguments = {"name": "greet", "source": skill("Mine."), "overwrite": True}
        with pytest.raises(SkillProtectedError, match="in CONFIG_PATH and cannot be overwritten"):
            await door.call("skills", "create", [], arguments)
        with pytest.raises(SkillProtectedError, match="in CONFIG_PATH and cannot be deleted"):
            await door.call("skills", "delete", [], {"name": "greet"})
        record = await door.call("skills", "get", [], {"name": "greet"})
        assert (record.origin, record.description) == ("config", "Of the operator.")
    store = OverlayStorage(own, folder)
    with pytest.raises(ToolError, match="'nmap' was provided by the operator in CONFIG_PATH"):
        await store.tools.add("nmap", tool("nmap"))
    with pytest.raises(ToolError, match="'nmap' was provided by the operator in CONFIG_PATH"):
        await store.tools.remove("nmap")
    assert (await own.skills.get("greet")).source == skill("Of the store.")


async def test_what_is_not_in_the_folder_is_changed_in_the_store(
    own: MemoryStorage, folder: Path
) -> None:
    store = OverlayStorage(own, folder)
    await store.skills.add("count", skill("Counts more."), overwrite=True)
    await store.skills.add("sum", skill("Sums."))
    await store.skills.remove("count")
    await store.tools.add("jq", tool("jq"))
    await store.tools.remove("curl")
    await store.artifacts.add("a", b"1")
    await store.deps.add("six")
    assert [each.name for each in await own.skills.list()] == ["greet", "sum"]
    assert list(await own.tools.list()) == ["jq", "nmap"]
    assert (await own.artifacts.read("a"))[1] == b"1"
    assert await own.deps.list() == ["six"]
    assert store.describe() == f"{own.describe()} and files at {folder}"


async def test_a_tool_of_the_store_cannot_take_a_name_of_the_folder_by_another_file(
    own: MemoryStorage, folder: Path
) -> None:
    (folder / "tools" / "web-get.yaml").write_text(tool("web-get", "Of the operator."))
    await own.tools.add("aaa", tool("nmap", "An impostor."))
    await own.tools.add("bbb", f'"name": "web_get"\n{tool("x").partition(chr(10))[2]}')
    await own.tools.add("web_get", tool("web_get", "An impostor."))
    services = Services(OverlayStorage(own, folder), limits=Limits())
    found = {each.name: each.description for each in await services.tools.list()}
    assert found == {
        "curl": "Echoes.",
        "nmap": "Of the operator.",
        "web_get": "Of the operator.",
    }


async def test_revisions_combine(own: MemoryStorage, folder: Path) -> None:
    store = OverlayStorage(own, folder)
    for collection, change in (
        (store.tools, lambda: own.tools.add("jq", tool("jq"))),
        (store.skills, lambda: own.skills.add("sum", skill("Sums."))),
    ):
        first = await collection.revision()
        assert await collection.revision() == first
        await change()
        second = await collection.revision()
        assert second != first
        name = "tools/more.yaml" if collection is store.tools else "skills/more.py"
        (folder / name).write_text(tool("more") if name.endswith("yaml") else skill("More."))
        await eventually(lambda c=collection, s=second: _differs(c.revision, s))  # type: ignore[misc]


async def _differs(ask: Callable[[], Awaitable[str]], before: str) -> bool:
    return await ask() != before


def mount_config_map(folder: Path, contents: dict[str, str], stamp: str) -> None:
    """Writes what Kubernetes would: a dated folder, ``..data`` moved to it, links through it."""
    dated = folder / f"..{stamp}"
    for name, text in contents.items():
        path = dated / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    fresh = folder / "..data_tmp"
    fresh.symlink_to(dated.name)
    fresh.rename(folder / "..data")
    for top in {name.partition("/")[0] for name in contents}:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")


@pytest.mark.parametrize("whole", [True, False], ids=["one-map", "a-map-for-each-folder"])
async def test_the_links_of_a_kubernetes_config_map_work_and_its_changes_are_seen(
    tmp_path: Path, *, whole: bool
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()

    def mount(tools: dict[str, str], skills: dict[str, str], stamp: str) -> None:
        if whole:
            named = {f"tools/{name}": text for name, text in tools.items()}
            mount_config_map(folder, named | {f"skills/{n}": t for n, t in skills.items()}, stamp)
            return
        for below, contents in (("tools", tools), ("skills", skills)):
            (folder / below).mkdir(exist_ok=True)
            mount_config_map(folder / below, contents, stamp)

    mount({"nmap.yaml": tool("nmap")}, {"greet.py": skill("One.")}, "2026_01_01")
    store = OverlayStorage(MemoryStorage(), folder)
    assert await store.tools.list() == {"nmap": tool("nmap")}
    assert (await store.skills.get("greet")).source == skill("One.")
    mount({"nmap.yaml": tool("nmap", "New.")}, {"greet.py": skill("Two.")}, "2026_01_02")

    async def is_new() -> bool:
        return (await store.skills.get("greet")).source == skill("Two.")

    await eventually(is_new)
    assert await store.tools.get("nmap") == tool("nmap", "New.")


async def test_links_that_lead_outside_are_refused_and_bad_files_passed_over(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text(skill("Not for agents."))
    (folder / "skills" / "stolen.py").symlink_to(secret)
    (folder / "skills" / "climbing.py").symlink_to("../../secret.py")
    (folder / "skills" / "loop.py").symlink_to("loop.py")
    (folder / "skills" / "not-a-name.py").write_text(skill("x"))
    (folder / "skills" / "latin.py").write_bytes(b"\xff\xfe")
    (folder / "skills" / "folder.py").mkdir()
    (folder / "skills" / ".hidden.py").write_text(skill("x"))
    os.mkfifo(folder / "tools" / "pipe.yaml")
    with caplog.at_level(logging.WARNING):
        store = OverlayStorage(MemoryStorage(), folder)
    assert [each.name for each in await store.skills.list()] == ["greet"]
    assert list(await store.tools.list()) == ["nmap"]
    told = {
        record.getMessage().removeprefix(f"CONFIG_PATH {folder}: ") for record in caplog.records
    }
    assert {line.partition(":")[0] for line in told} == {
        "skills/stolen.py is refused",
        "skills/climbing.py is refused",
        "skills/loop.py is passed over",
        "skills/not-a-name.py is passed over",
        "skills/latin.py is passed over",
        "skills/folder.py is passed over",
        "tools/pipe.yaml is passed over",
    }
    assert "Not for agents" not in caplog.text


async def test_a_folder_that_goes_away_leaves_what_is_known(folder: Path) -> None:
    store = OverlayStorage(MemoryStorage(), folder)
    folder.rename(folder.with_name("gone"))
    for _ in range(5):
        assert list(await store.tools.list()) == ["nmap"]
        await asyncio.sleep(0.6)


def test_a_path_that_is_no_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^CONFIG_PATH: .*/missing is no folder"):
        OverlayStorage(MemoryStorage(), tmp_path / "missing")
    assert issubclass(ConfigurationError, CodeModeError)


async def test_an_empty_folder_changes_nothing(own: MemoryStorage, tmp_path: Path) -> None:
    store = OverlayStorage(own, tmp_path)
    assert await store.tools.list() == await own.tools.list()
    assert await store.skills.list() == await own.skills.list()
