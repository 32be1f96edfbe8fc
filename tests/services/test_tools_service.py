"""The tools namespace finds, describes and calls tools on behalf of one session."""

from __future__ import annotations

from typing import Any

import pytest

from py_code_mode.errors import (
    InvalidArgumentError,
    NotAvailableError,
    ToolCallError,
    ToolError,
    ToolNotFoundError,
)
from py_code_mode.models import ProgramEnd
from py_code_mode.services.dispatch import Dispatcher
from py_code_mode.services.tools import ToolsService
from py_code_mode.store.memory import MemoryTools
from tools.jails import RecordingJail, caller

SAY = """\
name: say
description: Say words aloud
command: echo
tags: [voice, "\\e[31mloud"]
env: {TOKEN: "${TOOL_TOKEN}"}
schema:
  positional: [{name: words, required: true, description: What is said}]
recipes:
  whisper: {description: Say it in a low voice}
"""
COUNT = "name: count-it\ndescription: Count lines\ncommand: wc\nschema: {stdin: {name: text}}\n"


@pytest.fixture
async def store() -> MemoryTools:
    store = MemoryTools()
    await store.add("say", SAY)
    await store.add("count-it", COUNT)
    await store.add("broken", "name: broken\n")
    return store


@pytest.fixture
def tools(store: MemoryTools) -> ToolsService:
    variables = {"TOOL_TOKEN": "t", "TOKEN": "never", "HOME": "never"}
    return ToolsService(store, variables=variables, max_output_bytes=500)


@pytest.fixture
def door(tools: ToolsService) -> Dispatcher:
    return Dispatcher({"tools": tools})


async def test_every_usable_tool_is_listed(tools: ToolsService) -> None:
    assert [dict(record) for record in await tools.list()] == [
        {"name": "count_it", "description": "Count lines", "tags": [], "callables": []},
        {
            "name": "say",
            "description": "Say words aloud",
            "tags": ["voice", "loud"],
            "callables": ["whisper"],
        },
    ]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("say", "say"),
        ("voices", "say"),
        ("whisper", "say"),
        ("speak quietly", "say"),
        ("what is said", "say"),
        ("count", "count_it"),
        ("how many rows does this have", "count_it"),
        ("text lines", "count_it"),
    ],
)
async def test_search_knows_names_descriptions_tags_recipes_and_parameters(
    tools: ToolsService, query: str, name: str
) -> None:
    found = await tools.search(query)
    assert found[0].name == name
    assert all(record["score"] > 0 for record in found)
    assert len({record.name for record in found}) == len(found)


@pytest.mark.parametrize("query", ["", " ?!", "日本"])
async def test_search_finds_nothing_for_no_words_and_for_unknown_ones(
    tools: ToolsService, query: str
) -> None:
    assert await tools.search(query) == []


async def test_search_follows_the_store(tools: ToolsService, store: MemoryTools) -> None:
    assert len(await tools.search("say count", limit=1)) == 1
    with pytest.raises(InvalidArgumentError, match="needs a limit of at least 1, not 0"):
        await tools.search("x", 0)
    await store.remove("say")
    assert "say" not in [record.name for record in await tools.search("aloud")]


async def test_a_description_has_each_callable_with_its_help(tools: ToolsService) -> None:
    described = await tools.describe("say")
    whole, whisper = described.pop("callables")
    assert described == {"name": "say", "description": "Say words aloud"}
    assert (whole["name"], whisper["name"]) == ("", "whisper")
    assert whisper["signature"] == "(words: str) -> str"
    assert whisper["description"] == "Say it in a low voice"
    assert whisper["doc"].startswith("Say it in a low voice\n\nArgs:\n    words: What is said\n")


async def test_a_call_runs_in_the_callers_jail(door: Dispatcher) -> None:
    jail = RecordingJail(ProgramEnd(0, b"hi\n", b""))
    asked = {"name": "say", "callable": "whisper", "arguments": {"words": "hi"}}
    assert await door.call("tools", "call", [], asked, caller=caller(jail)) == "hi\n"
    assert (jail.argv, jail.programs[0].max_output_bytes) == (["hi"], 500)
    assert jail.programs[0].env["TOKEN"] == "t"
    by_position: dict[str, Any] = {"name": "say", "callable": None, "arguments": {}, "args": ["ho"]}
    await door.call("tools", "call", [], by_position, caller=caller(jail))
    assert jail.argv == ["ho"]


async def test_a_large_argument_takes_the_place_that_was_kept_for_it(door: Dispatcher) -> None:
    jail = RecordingJail()
    asked: dict[str, Any] = {"name": "count_it", "callable": None, "large": b"12345"}
    for place in (
        {"arguments": {"text": None}, "large_at": "text"},
        {"arguments": {}, "args": [None], "large_at": 0},
    ):
        await door.call("tools", "call", [], {**asked, **place}, caller=caller(jail))
        assert jail.programs[-1].stdin == b"12345"


async def test_each_caller_has_a_jail_of_its_own(door: Dispatcher) -> None:
    one, two = RecordingJail(), RecordingJail()
    for jail, word in ((one, "1"), (two, "2")):
        asked = {"name": "say", "callable": None, "arguments": {"words": word}}
        await door.call("tools", "call", [], asked, caller=caller(jail))
    assert (one.argv, two.argv) == (["1"], ["2"])


@pytest.mark.parametrize(
    ("name", "member", "error", "message"),
    [
        ("sya", None, ToolNotFoundError, "there is no tool 'sya'; did you mean 'say'?"),
        ("say", "wisper", ToolNotFoundError,
         "tools.say has no recipe 'wisper'; did you mean 'whisper'?"),
        ("count_it", "x", ToolNotFoundError,
         "tools.count_it has no recipe 'x'; it is called as tools.count_it(...)"),
        ("broken", None, ToolError,
         "tools.broken cannot be used until its file is corrected:\n"
         "broken.yaml:1: 'command' is missing\nbroken.yaml:1: 'description' is missing"),
        ("say", None, InvalidArgumentError,
         "tools.say() needs 'words' (str), which is missing; it is called as "
         "tools.say(words: str) -> str"),
    ],
)  # fmt: skip
async def test_nothing_runs_for_what_cannot_be_called(
    door: Dispatcher, name: str, member: str | None, error: type[Exception], message: str
) -> None:
    jail = RecordingJail()
    asked: dict[str, Any] = {"name": name, "callable": member, "arguments": {}}
    with pytest.raises(error) as caught:
        await door.call("tools", "call", [], asked, caller=caller(jail))
    assert (type(caught.value), str(caught.value)) == (error, message)
    assert jail.programs == []


async def test_the_errors_of_a_program_reach_the_caller(door: Dispatcher) -> None:
    jail = RecordingJail(ProgramEnd(3, b"out", b"err"))
    asked = {"name": "say", "callable": None, "arguments": {"words": "x"}}
    with pytest.raises(ToolCallError) as caught:
        await door.call("tools", "call", [], asked, caller=caller(jail))
    assert caught.value.fields == {"exit_code": 3, "stdout": "out", "stderr": "err"}


async def test_a_call_needs_a_session_and_nobody_can_bring_their_own(door: Dispatcher) -> None:
    asked: dict[str, Any] = {"name": "say", "callable": None, "arguments": {"words": "x"}}
    with pytest.raises(NotAvailableError) as caught:
        await door.call("tools", "call", [], asked)
    assert caught.value.message == (
        "tools.call() works only from a session, whose folder and limits it uses"
    )
    ours = caller(RecordingJail())
    with pytest.raises(InvalidArgumentError, match=r"tools\.call\(\) has no parameter 'caller'"):
        await door.call("tools", "call", [], {**asked, "caller": None}, caller=ours)
    with pytest.raises(InvalidArgumentError, match="takes at most 6 arguments, 7 were given"):
        await door.call("tools", "call", ["say", None, {}, [], "x", 0, 0], {}, caller=ours)


def test_the_caller_is_no_part_of_a_signature(door: Dispatcher) -> None:
    signatures = {each["name"]: each["signature"] for each in door.describe()["tools"]}
    assert signatures == {
        "list": "() -> list[ToolRecord]",
        "search": "(query: str, limit: int = 10) -> list[ToolRecord]",
        "describe": "(name: str) -> dict[str, Any]",
        "call": "(name: str, callable: str | None, arguments: dict[str, Any], "
        "args: list[Any] | None = None, large: str | bytes | None = None, "
        "large_at: str | int | None = None) -> Any",
    }
