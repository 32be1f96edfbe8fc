"""The catalogue follows its store, reads what changed alone, and no bad file hides another."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from py_code_mode.errors import ToolError, ToolNotFoundError
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryTools
from py_code_mode.tools.catalog import Catalog, Tools
from py_code_mode.tools.cli import CliTool
from py_code_mode.tools.definition import ToolDefinition
from py_code_mode.tools.loading import load_definition


def text(name: str, command: str = "echo") -> str:
    return f"name: {name}\ndescription: The {name}\ncommand: {command}\n"


def make(definition: ToolDefinition) -> CliTool:
    return CliTool(definition, variables={})


@pytest.fixture
def store() -> MemoryTools:
    return MemoryTools()


@pytest.fixture
def catalog(store: MemoryTools) -> Catalog:
    return Catalog(store, make)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were parsed, in order."""
    files: list[str] = []
    load = load_definition

    def remember(text: str, *, file: str) -> ToolDefinition:
        files.append(file)
        return load(text, file=file)

    monkeypatch.setattr("py_code_mode.tools.catalog.load_definition", remember)
    return files


async def names(catalog: Catalog) -> list[str]:
    return [record.name for record in (await catalog.tools()).records]


async def test_what_the_store_has_now_is_there(catalog: Catalog, store: MemoryTools) -> None:
    assert await names(catalog) == []
    await store.add("b", text("b"))
    await store.add("a-tool", text("a-tool"))
    assert await names(catalog) == ["a_tool", "b"]
    await store.remove("b")
    assert await names(catalog) == ["a_tool"]


async def test_only_what_changed_is_read_again(
    catalog: Catalog, store: MemoryTools, files: list[str]
) -> None:
    for name in "abcdef":
        await store.add(name, text(name))
    first = await catalog.tools()
    assert await catalog.tools() is first
    assert files == [f"{name}.yaml" for name in "abcdef"]
    await store.add("b", text("b", "cat"))
    assert (await catalog.tools()) is not first
    assert files[6:] == ["b.yaml"]


async def test_a_bad_file_is_told_in_the_log_and_to_its_callers_and_hides_no_other(
    catalog: Catalog, store: MemoryTools, caplog: pytest.LogCaptureFixture
) -> None:
    await store.add("good", text("good"))
    await store.add("bad-one", text("bad-one") + "timeout: x\nport: 5\n")
    tools = await catalog.tools()
    await catalog.tools()
    assert [record.name for record in tools.records] == ["good"]
    reasons = [
        "bad-one.yaml:4: 'timeout' must be a number, not text",
        "bad-one.yaml:5: unknown key 'port'; did you mean 'ports'?",
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"bad tool file: {reason}" for reason in reasons
    ]
    with pytest.raises(ToolError) as caught:
        tools.get("bad_one")
    assert caught.value.message == "\n".join(
        ["tools.bad_one cannot be used until its file is corrected:", *reasons]
    )
    await store.add("bad-one", text("bad-one"))
    assert await names(catalog) == ["bad_one", "good"]


async def test_of_two_files_with_one_name_the_first_has_it(
    catalog: Catalog, store: MemoryTools, caplog: pytest.LogCaptureFixture
) -> None:
    await store.add("a-b", text("a-b", "cat"))
    await store.add("a_b", text("a_b"))
    tool = (await catalog.tools()).get("a_b")
    assert isinstance(tool, CliTool)
    assert tool.definition.command == "cat"
    assert [record.getMessage() for record in caplog.records] == [
        "bad tool file: a_b.yaml:1: the name 'a_b' is taken by a-b.yaml"
    ]


async def test_what_is_not_there_names_the_close_matches(
    catalog: Catalog, store: MemoryTools
) -> None:
    await store.add("curl", text("curl"))
    with pytest.raises(
        ToolNotFoundError, match=r"^there is no tool 'crul'; did you mean 'curl'\?$"
    ):
        (await catalog.tools()).get("crul")


async def test_what_is_not_installed_is_said_once(
    catalog: Catalog, store: MemoryTools, caplog: pytest.LogCaptureFixture
) -> None:
    await store.add("x", text("x", "no-such-program") + "env: {A: '${TOOL_A}'}\n")
    await catalog.tools()
    await store.add("y", text("y"))
    await catalog.tools()
    assert [record.getMessage() for record in caplog.records] == [
        "tool x cannot be called: the program 'no-such-program' is not there",
        "tool x cannot be called: the variable TOOL_A is not there",
    ]


async def test_a_file_edited_by_hand_is_seen_by_the_next_call(tmp_path: Path) -> None:
    catalog = Catalog(FileStorage(base_path=tmp_path).tools, make)
    assert await names(catalog) == []
    (tmp_path / "tools").mkdir(exist_ok=True)
    (tmp_path / "tools" / "a.yaml").write_text(text("a"))
    assert await names(catalog) == ["a"]
    (tmp_path / "tools" / "a.yaml").write_text(text("other"))
    assert await names(catalog) == ["other"]


async def test_200_tools_are_listed_in_no_time_once_read(
    catalog: Catalog, store: MemoryTools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    options = "".join(f"    o{i}: {{type: string, description: Option {i}}}\n" for i in range(10))
    for number in range(200):
        name = f"tool_{number:03}"
        await store.add(name, f"{text(name)}schema:\n  options:\n{options}")
    await catalog.tools()
    started = time.perf_counter()
    found: Tools = await catalog.tools()
    assert time.perf_counter() - started < 0.002
    assert len(found.records) == 200
