"""Skills are kept, found and described; who may change which is decided here."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from py_code_mode.errors import (
    InvalidArgumentError,
    InvalidSkillError,
    SkillExistsError,
    SkillNotFoundError,
    SkillProtectedError,
    SkillWritesDisabledError,
)
from py_code_mode.services import skills as skills_module
from py_code_mode.services.skill_source import SkillSource, read_skill
from py_code_mode.services.skills import SkillsService
from py_code_mode.store.memory import MemorySkills

HELLO = '"""Greet somebody."""\n\ndef run(name: str = "you"):\n    return f"Hello {name}"\n'
FAREWELL = '"""Say goodbye."""\n\ndef run(): ...\n'
PLAIN = "def run():\n    pass\n"


@pytest.fixture
def store() -> MemorySkills:
    return MemorySkills()


@pytest.fixture
def agent(store: MemorySkills) -> SkillsService:
    return SkillsService(store, origin="agent")


@pytest.fixture
def api(store: MemorySkills) -> SkillsService:
    return SkillsService(store, origin="api")


async def test_a_created_skill_is_described_from_its_source(agent: SkillsService) -> None:
    record = await agent.create("hello", HELLO)
    assert dict(record) == {
        "name": "hello",
        "description": "Greet somebody.",
        "parameters": [{"name": "name", "type": "str", "required": False, "default": "'you'"}],
        "version": 1,
        "author": "agent",
        "origin": "agent",
        "created_at": record.created_at,
    }
    assert dict(await agent.get("hello")) == {**record, "source": HELLO}
    assert [dict(found) for found in await agent.list()] == [dict(record)]


async def test_a_given_description_wins_and_is_whole_in_get_alone(agent: SkillsService) -> None:
    text = "First line.\n" + "\x1b[31mmore " * 100
    record = await agent.create("hello", HELLO, text)
    assert record.description == ("First line. " + "more " * 100)[:199].rstrip() + "…"
    assert (await agent.get("hello")).description == "First line.\n" + "more " * 100


async def test_overwriting_makes_a_version_and_the_earlier_one_stays(agent: SkillsService) -> None:
    await agent.create("hello", HELLO)
    with pytest.raises(SkillExistsError):
        await agent.create("hello", PLAIN)
    assert (await agent.create("hello", PLAIN, overwrite=True)).version == 2
    assert (await agent.get("hello")).source == PLAIN
    assert (await agent.get("hello", 1)).source == HELLO
    with pytest.raises(SkillNotFoundError, match="has no version 3; kept: 1, 2"):
        await agent.get("hello", version=3)


@pytest.mark.parametrize("name", ["match", "type", "caché", "a1", "größe"])
async def test_names_that_python_allows_are_accepted(agent: SkillsService, name: str) -> None:
    assert (await agent.create(name, PLAIN)).name == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "use a Python identifier that is no keyword"),
        ("a-b", "use a Python identifier that is no keyword"),
        ("../etc", "use a Python identifier that is no keyword"),
        ("\ud800", "use a Python identifier that is no keyword"),
        ("class", "use a Python identifier that is no keyword"),
        ("_private", "it may not begin with an underscore"),
        ("create", "skills.create is a method of the namespace"),
        ("list", "skills.list is a method of the namespace"),
        ("invoke_async", "skills.invoke_async is a method of the namespace"),
        ("\ufb01le", "Python reads it as 'file'; use that"),
        ("x" * 201, "at most 200 bytes"),
    ],
)
async def test_a_name_that_cannot_be_called_is_refused(
    agent: SkillsService, name: str, reason: str
) -> None:
    with pytest.raises(InvalidSkillError) as caught:
        await agent.create(name, PLAIN)
    assert caught.value.message.endswith(f" cannot be the name of a skill: {reason}")


async def test_broken_source_is_refused_with_its_line(
    agent: SkillsService, store: MemorySkills
) -> None:
    with pytest.raises(InvalidSkillError) as caught:
        await agent.create("hello", "x = 1\ndef run(:\n")
    assert caught.value.message == "skill 'hello': line 2: invalid syntax: def run(:"
    assert caught.value.fields == {"line": 2}
    assert await store.list() == []


@pytest.mark.parametrize("origin", ["config", "bootstrap"])
async def test_agents_cannot_change_what_the_operator_provided(
    agent: SkillsService, store: MemorySkills, origin: str
) -> None:
    await store.add("ours", PLAIN, origin=origin)
    with pytest.raises(SkillProtectedError):
        await agent.create("ours", HELLO, overwrite=True)
    with pytest.raises(SkillProtectedError):
        await agent.delete("ours")
    assert (await agent.get("ours")).source == PLAIN


async def test_agents_may_change_what_agents_and_the_api_made(
    agent: SkillsService, api: SkillsService
) -> None:
    await api.create("hello", PLAIN)
    record = await agent.create("hello", HELLO, overwrite=True)
    assert (record.origin, record.version) == ("agent", 2)
    await agent.delete("hello")
    assert await agent.list() == []


async def test_the_api_may_change_every_skill(api: SkillsService, store: MemorySkills) -> None:
    await store.add("ours", PLAIN, origin="bootstrap")
    assert (await api.create("ours", HELLO, overwrite=True)).origin == "api"
    await api.delete("ours")
    assert await store.list() == []


async def test_the_operator_can_stop_agents_and_only_agents_from_writing(
    store: MemorySkills,
) -> None:
    agent = SkillsService(store, origin="agent", writes_allowed=False)
    api = SkillsService(store, origin="api", writes_allowed=False)
    await api.create("hello", HELLO)
    with pytest.raises(SkillWritesDisabledError):
        await agent.create("other", HELLO)
    with pytest.raises(SkillWritesDisabledError):
        await agent.delete("hello")
    assert [skill.name for skill in await agent.list()] == ["hello"]


@pytest.mark.parametrize("name", ["hallo", "hello!", "hellox", "helo"])
async def test_a_missing_skill_names_close_matches(agent: SkillsService, name: str) -> None:
    await agent.create("hello", HELLO)
    for call in (agent.get, agent.delete):
        with pytest.raises(SkillNotFoundError, match="close: 'hello'"):
            await call(name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "\ud800", "x" * 1_000_000])
async def test_what_cannot_be_a_name_is_not_found_and_never_reaches_the_store(
    agent: SkillsService, name: str
) -> None:
    with pytest.raises(SkillNotFoundError) as caught:
        await agent.get(name)
    assert len(caught.value.message) < 400


async def test_a_skill_broken_by_hand_is_listed_as_broken_and_can_be_read(
    agent: SkillsService, store: MemorySkills
) -> None:
    await store.add("bad", "def run(:\n", description="Was good.")
    await store.add("good", HELLO)
    bad, good = await agent.list()
    assert (bad.description, bad.parameters) == (
        "broken, cannot be invoked: bad.py: line 1: invalid syntax: def run(:",
        [],
    )
    assert good.description == "Greet somebody."
    assert (await agent.get("bad")).source == "def run(:\n"


async def test_search_ranks_by_meaning_and_scores_what_it_finds(agent: SkillsService) -> None:
    await agent.create("parseCSVFile", '"""Read a table."""\n' + PLAIN)
    await agent.create("fetch_page", '"""Get the tables of a web page."""\n' + PLAIN)
    await agent.create("greet", '"""Say hello to a person."""\n' + PLAIN)
    found = await agent.search("load comma separated spreadsheets")
    assert found[0].name == "parseCSVFile"
    scores = [skill["score"] for skill in found]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0 for score in scores)
    assert "ranking" not in found[0]
    assert [skill.name for skill in await agent.search("welcome somebody", limit=1)] == ["greet"]
    assert await agent.search("") == []


async def test_search_sees_every_change_of_the_store(
    agent: SkillsService, api: SkillsService
) -> None:
    assert await agent.search("greet") == []
    await api.create("hello", HELLO)
    assert [skill.name for skill in await agent.search("greet")] == ["hello"]
    await api.create("hello", FAREWELL, overwrite=True)
    assert (await agent.search("greet"))[0].description == "Say goodbye."
    await api.delete("hello")
    assert await agent.search("greet") == []


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_search_for_nothing_is_refused(agent: SkillsService, limit: int) -> None:
    with pytest.raises(InvalidArgumentError, match="needs a limit of at least 1"):
        await agent.search("x", limit)


async def test_a_caller_that_changes_a_record_changes_no_other(agent: SkillsService) -> None:
    await agent.create("hello", HELLO)
    (await agent.list())[0].parameters[0]["name"] = "changed"
    assert (await agent.list())[0].parameters[0]["name"] == "name"


async def test_sources_are_parsed_once_and_the_memory_of_it_is_bounded(
    agent: SkillsService, store: MemorySkills, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(source: str) -> SkillSource:
        read.append(source)
        return read_skill(source)

    monkeypatch.setattr(skills_module, "read_skill", counted)
    monkeypatch.setattr(skills_module, "_MAX_READ", 2)
    for name in ("a", "b"):
        await store.add(name, f"def run({name}): pass")
    for _ in range(3):
        await agent.list()
    assert len(read) == 2
    await agent.create("c", PLAIN)
    await agent.list()
    assert len(read) == 6  # one more than fits: the oldest goes each time


async def test_listing_two_hundred_skills_again_takes_milliseconds(
    agent: SkillsService, store: MemorySkills
) -> None:
    for i in range(200):
        await store.add(f"skill_{i}", f'"""Do thing {i}."""\ndef run(a: int = {i}): pass\n' * 5)
    await agent.search("thing")

    async def best_of(call: Any) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            await call()
            times.append(time.perf_counter() - start)
        return min(times)

    # Measured 2 ms and 0.2 ms; the bounds only catch parsing or indexing again.
    assert await best_of(agent.list) < 0.02
    assert await best_of(lambda: agent.search("thing 7")) < 0.01


async def test_of_many_creators_one_wins(store: MemorySkills) -> None:
    agents = [SkillsService(store, origin="agent") for _ in range(10)]
    results = await asyncio.gather(
        *(agent.create("hello", HELLO) for agent in agents), return_exceptions=True
    )
    assert sum(isinstance(result, SkillExistsError) for result in results) == 9
