"""What every storage does, whatever is behind it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_code_mode.errors import (
    ArtifactNotFoundError,
    ArtifactTypeError,
    InvalidArgumentError,
    InvalidArtifactNameError,
    InvalidDepError,
    InvalidSkillError,
    SkillExistsError,
    SkillNotFoundError,
    SkillProtectedError,
    ToolNotFoundError,
)
from py_code_mode.store.base import KEPT_VERSIONS, Store, StoredArtifact, StoredSkill
from py_code_mode.store.names import artifact_segments, is_artifact_name

SOURCE = '"""Doubles."""\n\n\ndef run(x: int) -> int:\n    return 2 * x\n'

BAD_ARTIFACT_NAMES = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "./a",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x85b",
    "a\ud800b",
    ".state",
    ".state/lock",
    ".statement",
    "a" * 513,
    "a" * 201,
    "é" * 101,
    "x/" + "a" * 201,
]

GOOD_ARTIFACT_NAMES = [
    "a",
    "a b",
    "...",
    ".hidden",
    "a/.state",
    "scans/2024/x.json",
    "naïve/日本語.txt",
    "e\u0301",
    "a:b*c?",
    "a" * 200,
    "/".join("a" * 199 for _ in range(2)),
    "-rf",
]

BAD_SKILL_NAMES = ["", "a b", "a-b", "1a", "class", "None", "../x", "a/b", "a.b", "a" * 201]


def assert_recent(when: str) -> None:
    """Assert that a record's time is now, in UTC."""
    moment = datetime.fromisoformat(when)
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


# Tools


async def test_a_tool_comes_back_as_it_was_saved(store: Store) -> None:
    text = "name: jq\r\ndescription: 'ünï'\n\n"
    await store.tools.add("jq", text)
    assert await store.tools.get("jq") == text
    assert await store.tools.list() == {"jq": text}


async def test_saving_a_tool_again_replaces_it(store: Store) -> None:
    await store.tools.add("jq", "one")
    await store.tools.add("jq", "two")
    assert await store.tools.list() == {"jq": "two"}


async def test_tools_are_listed_by_name(store: Store) -> None:
    for name in ["zip", "a-b", "curl", "a_b"]:
        await store.tools.add(name, name)
    assert list((await store.tools.list()).items()) == [
        ("a-b", "a-b"),
        ("a_b", "a_b"),
        ("curl", "curl"),
        ("zip", "zip"),
    ]


async def test_a_missing_tool_is_said_with_the_close_names(store: Store) -> None:
    await store.tools.add("nmap", "x")
    with pytest.raises(ToolNotFoundError, match=r"^there is no tool 'nmpa'; close: 'nmap'$"):
        await store.tools.get("nmpa")
    with pytest.raises(ToolNotFoundError):
        await store.tools.remove("nmpa")


async def test_a_removed_tool_is_gone(store: Store) -> None:
    await store.tools.add("jq", "x")
    await store.tools.remove("jq")
    assert await store.tools.list() == {}
    with pytest.raises(ToolNotFoundError):
        await store.tools.remove("jq")


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "../x", "a\0b", "x" * 201])
async def test_a_tool_name_that_is_no_file_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await store.tools.add(name, "x")
    with pytest.raises(ToolNotFoundError):
        await store.tools.get(name)
    assert await store.tools.list() == {}


async def test_the_revision_of_the_tools_changes_with_every_change_only(store: Store) -> None:
    seen = [await store.tools.revision()]
    for change in [
        store.tools.add("jq", "one"),
        store.tools.add("jq", "two"),
        store.tools.add("jq", "six"),
        store.tools.add("jq", "six"),
        store.tools.remove("jq"),
    ]:
        await change
        seen.append(await store.tools.revision())
        assert await store.tools.revision() == seen[-1]
    assert all(before != after for before, after in pairwise(seen))


# Skills


async def test_a_new_skill_is_version_one(store: Store) -> None:
    saved = await store.skills.add(
        "double", SOURCE, description="Doubles.", author="ann", origin="agent"
    )
    assert_recent(saved.created_at)
    assert saved == StoredSkill(
        "double", SOURCE, "Doubles.", 1, "ann", "agent", created_at=saved.created_at
    )
    assert await store.skills.get("double") == saved
    assert await store.skills.get("double", 1) == saved
    assert await store.skills.list() == [saved]


async def test_an_existing_skill_is_not_overwritten_by_accident(store: Store) -> None:
    saved = await store.skills.add("double", SOURCE)
    with pytest.raises(SkillExistsError) as caught:
        await store.skills.add("double", "x = 1")
    assert caught.value.name == "double"
    assert await store.skills.list() == [saved]


async def test_overwriting_makes_a_new_version_and_keeps_the_old_one(store: Store) -> None:
    old = await store.skills.add("f", "a = 1\n", description="one", author="x", origin="api")
    new = await store.skills.add(
        "f", "a = 2\n", description="two", author="y", origin="agent", overwrite=True
    )
    assert new == StoredSkill("f", "a = 2\n", "two", 2, "y", "agent", new.created_at)
    assert await store.skills.get("f") == new
    assert await store.skills.get("f", 1) == old
    assert await store.skills.list() == [new]


async def test_the_same_source_again_is_a_new_version(store: Store) -> None:
    old = await store.skills.add("f", SOURCE, description="one")
    new = await store.skills.add("f", SOURCE, description="two", overwrite=True)
    assert (await store.skills.get("f"), await store.skills.get("f", 1)) == (new, old)


async def test_overwrite_of_a_missing_skill_creates_it(store: Store) -> None:
    saved = await store.skills.add("f", SOURCE, overwrite=True, replaceable=frozenset())
    assert saved.version == 1


async def test_only_the_last_versions_are_kept(store: Store) -> None:
    last = KEPT_VERSIONS + 3
    for number in range(1, last + 1):
        await store.skills.add("f", f"a = {number}\n", overwrite=True)
    first = last - KEPT_VERSIONS + 1
    for number in range(first, last + 1):
        kept = await store.skills.get("f", number)
        assert (kept.version, kept.source) == (number, f"a = {number}\n")
    for number in [0, -1, first - 1, last + 1]:
        with pytest.raises(SkillNotFoundError, match="has no version"):
            await store.skills.get("f", number)


async def test_an_origin_that_may_not_be_replaced_is_protected(store: Store) -> None:
    saved = await store.skills.add("f", SOURCE, origin="bootstrap")
    with pytest.raises(SkillProtectedError) as caught:
        await store.skills.add("f", "x", overwrite=True, replaceable=frozenset({"agent", "api"}))
    assert caught.value.name == "f"
    with pytest.raises(SkillExistsError):
        await store.skills.add("f", "x", replaceable=frozenset({"agent"}))
    assert await store.skills.list() == [saved]
    new = await store.skills.add("f", "x", overwrite=True, replaceable=frozenset({"bootstrap"}))
    assert (new.version, new.source) == (2, "x")


async def test_an_origin_that_may_not_be_removed_is_protected(store: Store) -> None:
    saved = await store.skills.add("f", SOURCE, origin="config")
    with pytest.raises(SkillProtectedError):
        await store.skills.remove("f", removable=frozenset({"agent"}))
    assert await store.skills.get("f") == saved
    await store.skills.remove("f", removable=frozenset({"config"}))
    assert await store.skills.list() == []


async def test_a_removed_skill_leaves_no_version_behind(store: Store) -> None:
    await store.skills.add("f", "a = 1\n")
    await store.skills.add("f", "a = 2\n", overwrite=True)
    await store.skills.remove("f")
    for version in [None, 1, 2]:
        with pytest.raises(SkillNotFoundError):
            await store.skills.get("f", version)
    with pytest.raises(SkillNotFoundError):
        await store.skills.remove("f")
    assert (await store.skills.add("f", "a = 3\n")).version == 1
    with pytest.raises(SkillNotFoundError):
        await store.skills.get("f", 2)


async def test_a_missing_skill_is_said_with_the_close_names(store: Store) -> None:
    await store.skills.add("double", SOURCE)
    with pytest.raises(SkillNotFoundError, match="no skill 'doubel'; close: 'double'") as caught:
        await store.skills.get("doubel")
    assert caught.value.name == "doubel"


async def test_skills_are_listed_by_name(store: Store) -> None:
    saved = [await store.skills.add(name, SOURCE) for name in ["b", "_x", "a", "B", "ü"]]
    assert await store.skills.list() == sorted(saved, key=lambda skill: skill.name)


@pytest.mark.parametrize("name", BAD_SKILL_NAMES)
async def test_a_name_that_is_no_identifier_names_no_skill(store: Store, name: str) -> None:
    with pytest.raises(InvalidSkillError):
        await store.skills.add(name, SOURCE)
    with pytest.raises(SkillNotFoundError):
        await store.skills.get(name)
    with pytest.raises(SkillNotFoundError):
        await store.skills.remove(name)


async def test_of_many_creators_of_one_skill_one_wins(store: Store) -> None:
    answers = await asyncio.gather(
        *(store.skills.add("f", f"a = {n}\n", author=str(n)) for n in range(100)),
        return_exceptions=True,
    )
    won = [answer for answer in answers if isinstance(answer, StoredSkill)]
    lost = [answer for answer in answers if isinstance(answer, SkillExistsError)]
    assert (len(won), len(lost)) == (1, 99)
    assert await store.skills.get("f") == won[0]
    assert won[0].source == f"a = {won[0].author}\n"


async def test_concurrent_overwriters_each_get_their_own_version(store: Store) -> None:
    answers = await asyncio.gather(
        *(store.skills.add("f", f"a = {n}\n", overwrite=True) for n in range(15))
    )
    assert sorted(answer.version for answer in answers) == list(range(1, 16))
    for answer in answers:
        assert await store.skills.get("f", answer.version) == answer


async def test_the_revision_of_the_skills_changes_with_every_change_only(store: Store) -> None:
    seen = [await store.skills.revision()]
    for change in [
        store.skills.add("f", "a = 1"),
        store.skills.add("f", "a = 2", overwrite=True),
        store.skills.add("f", "a = 3", overwrite=True),
        store.skills.add("f", "a = 3", description="other", overwrite=True),
        store.skills.remove("f"),
    ]:
        await change
        seen.append(await store.skills.revision())
        assert await store.skills.revision() == seen[-1]
    assert all(before != after for before, after in pairwise(seen))


# Artifacts


async def test_an_artifact_comes_back_as_it_was_saved(store: Store) -> None:
    metadata = {"tags": ["a", None], "n": 1.5, "deep": {"ü": True}}
    saved = await store.artifacts.add(
        "scans/a.json",
        b'{"a": 1}',
        media_type="application/json",
        description="A scan",
        metadata=metadata,
    )
    assert_recent(saved.created_at)
    assert saved == StoredArtifact(
        "scans/a.json", "application/json", 8, "A scan", saved.created_at, metadata
    )
    assert await store.artifacts.get("scans/a.json") == saved
    assert await store.artifacts.read("scans/a.json") == (saved, b'{"a": 1}')
    assert await store.artifacts.list() == [saved]


async def test_what_is_not_said_of_an_artifact_is_empty(store: Store) -> None:
    saved = await store.artifacts.add("x", b"")
    assert saved == StoredArtifact("x", "application/octet-stream", 0, "", saved.created_at, {})
    assert await store.artifacts.read("x") == (saved, b"")


@pytest.mark.parametrize("body", [b"", b"\0\xff\r\n", bytes(range(256)) * 8192])
async def test_a_body_comes_back_byte_for_byte(store: Store, body: bytes) -> None:
    saved = await store.artifacts.add("x", body)
    assert await store.artifacts.read("x") == (saved, body)


async def test_a_body_that_is_too_large_for_the_reader_is_not_read(store: Store) -> None:
    saved = await store.artifacts.add("x", b"12345", metadata={"a": 1})
    assert await store.artifacts.read_at_most("x", 5) == (saved, b"12345")
    assert await store.artifacts.read_at_most("x", 4) == (saved, None)
    empty = await store.artifacts.add("empty", b"")
    assert await store.artifacts.read_at_most("empty", 0) == (empty, b"")
    with pytest.raises(ArtifactNotFoundError):
        await store.artifacts.read_at_most("absent", 5)


async def test_saving_an_artifact_again_replaces_body_and_record(store: Store) -> None:
    await store.artifacts.add("x", b"one", media_type="text/plain", metadata={"a": 1})
    saved = await store.artifacts.add("x", b"three", description="3")
    assert saved == StoredArtifact("x", "application/octet-stream", 5, "3", saved.created_at, {})
    assert await store.artifacts.read("x") == (saved, b"three")
    assert await store.artifacts.list() == [saved]


async def test_an_artifact_saved_many_times_is_the_last_one(store: Store) -> None:
    for number in range(100):
        saved = await store.artifacts.add("x", b"%03d" % number, description=str(number))
        assert await store.artifacts.get("x") == saved
    assert await store.artifacts.read("x") == (saved, b"099")


async def test_changing_what_was_given_or_got_does_not_change_the_store(store: Store) -> None:
    metadata: dict[str, Any] = {"tags": ["a"]}
    saved = await store.artifacts.add("x", b"", metadata=metadata)
    metadata["tags"].append("b")
    saved.metadata["tags"].append("c")
    got = await store.artifacts.get("x")
    assert got.metadata == {"tags": ["a"]}
    got.metadata.clear()
    assert (await store.artifacts.list())[0].metadata == {"tags": ["a"]}


@pytest.mark.parametrize(
    "metadata", [{"a": {1}}, {"a": (1, 2)}, {1: "a"}, {"a": float("nan")}, {"a": b""}]
)
async def test_metadata_that_json_cannot_keep_is_refused(
    store: Store, metadata: dict[Any, Any]
) -> None:
    with pytest.raises(ArtifactTypeError):
        await store.artifacts.add("x", b"", metadata=metadata)
    assert await store.artifacts.list() == []


async def test_a_missing_artifact_is_said_by_name(store: Store) -> None:
    await store.artifacts.add("a/b", b"")
    for name in ["x", "a", "a/c", "a/b/c", "z/x"]:
        for ask in [store.artifacts.get, store.artifacts.read, store.artifacts.remove]:
            with pytest.raises(ArtifactNotFoundError) as caught:
                await ask(name)
            assert caught.value.name == name


async def test_a_removed_artifact_is_gone(store: Store) -> None:
    await store.artifacts.add("a/b", b"", description="old")
    await store.artifacts.remove("a/b")
    assert await store.artifacts.list() == []
    with pytest.raises(ArtifactNotFoundError):
        await store.artifacts.get("a/b")
    saved = await store.artifacts.add("a/b", b"")
    assert (await store.artifacts.get("a/b")).description == saved.description == ""


async def test_artifacts_are_listed_by_name(store: Store) -> None:
    names = ["b", "a/z", "a/b/c", "a b", "ü", "B", "a.txt", "a/b.txt"]
    for name in names:
        await store.artifacts.add(name, name.encode())
    listed = await store.artifacts.list()
    assert [(artifact.name, artifact.size) for artifact in listed] == [
        (name, len(name.encode())) for name in sorted(names)
    ]


@pytest.mark.parametrize("name", BAD_ARTIFACT_NAMES)
async def test_a_bad_artifact_name_is_refused_everywhere(store: Store, name: str) -> None:
    with pytest.raises(InvalidArtifactNameError):
        await store.artifacts.add(name, b"")
    for ask in [store.artifacts.get, store.artifacts.read, store.artifacts.remove]:
        with pytest.raises(InvalidArtifactNameError):
            await ask(name)
    assert await store.artifacts.list() == []


@pytest.mark.parametrize("name", GOOD_ARTIFACT_NAMES)
async def test_a_good_artifact_name_is_kept_as_it_is(store: Store, name: str) -> None:
    saved = await store.artifacts.add(name, b"x")
    assert saved.name == name
    assert await store.artifacts.list() == [saved]
    assert await store.artifacts.read(name) == (saved, b"x")
    await store.artifacts.remove(name)
    assert await store.artifacts.list() == []


async def test_a_name_below_an_artifact_is_refused_and_says_why(store: Store) -> None:
    saved = await store.artifacts.add("a/b", b"x")
    with pytest.raises(InvalidArtifactNameError, match="'a/b' is in the way") as caught:
        await store.artifacts.add("a/b/c/d", b"y")
    assert caught.value.name == "a/b/c/d"
    assert await store.artifacts.list() == [saved]


async def test_a_name_above_an_artifact_is_refused_and_says_why(store: Store) -> None:
    kept = [await store.artifacts.add(name, b"x") for name in ["a/b/c", "a/b/d"]]
    with pytest.raises(InvalidArtifactNameError, match="'a/b/c' is in the way"):
        await store.artifacts.add("a", b"y")
    assert await store.artifacts.list() == kept


async def test_the_name_of_an_emptied_folder_can_be_saved(store: Store) -> None:
    await store.artifacts.add("a/b/c", b"x")
    await store.artifacts.add("a/b/d", b"x")
    await store.artifacts.remove("a/b/c")
    await store.artifacts.remove("a/b/d")
    saved = await store.artifacts.add("a", b"y")
    assert await store.artifacts.list() == [saved]


async def test_a_reader_sees_an_old_or_a_new_whole_value(store: Store) -> None:
    async def write() -> None:
        for number in range(60):
            body = b"%d" % number * (1 + number * 50)
            await store.artifacts.add("x", body, description=f"{number} {len(body)}")

    async def read() -> None:
        while not writing.done():
            saved, body = await store.artifacts.read("x")
            number, length = saved.description.split()
            assert (saved.size, body) == (int(length), number.encode() * (1 + int(number) * 50))
            assert (await store.artifacts.list())[0].size > 0

    await store.artifacts.add("x", b"0", description="0 1")
    writing = asyncio.create_task(write())
    await asyncio.gather(read(), read(), writing)


@given(name=st.text(max_size=40) | st.text(alphabet="a./\\~\0é", max_size=12))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_a_name_is_either_kept_whole_or_refused(store: Store, name: str) -> None:
    if is_artifact_name(name):
        saved = await store.artifacts.add(name, name.encode())
        assert await store.artifacts.list() == [saved]
        assert await store.artifacts.read(name) == (saved, name.encode())
        await store.artifacts.remove(name)
    else:
        with pytest.raises(InvalidArtifactNameError):
            await store.artifacts.add(name, b"")
    assert await store.artifacts.list() == []


@given(name=st.text(max_size=600))
def test_an_accepted_name_never_leaves_its_folder(name: str) -> None:
    if is_artifact_name(name):
        segments = artifact_segments(name)
        assert "/".join(segments) == name
        assert not {"", ".", ".."} & set(segments)
        assert all(1 <= len(segment.encode()) <= 200 for segment in segments)
        assert 1 <= len(name) <= 512
        assert not name.startswith(".state")


# Packages


async def test_specs_are_a_sorted_set(store: Store) -> None:
    assert await store.deps.list() == []
    await store.deps.add("requests>=2.0", "beautifulsoup4")
    await store.deps.add("beautifulsoup4", "attrs[tests]~=23.1")
    assert await store.deps.list() == ["attrs[tests]~=23.1", "beautifulsoup4", "requests>=2.0"]


async def test_exactly_the_given_specs_are_removed(store: Store) -> None:
    await store.deps.add("requests>=2.0", "numpy")
    await store.deps.remove("requests", "numpy", "absent")
    assert await store.deps.list() == ["requests>=2.0"]


@pytest.mark.parametrize("spec", ["", " ", " a", "a\n", "a\nb", "# a", "a # b", "a\0", "\ud800"])
async def test_a_spec_that_is_no_line_is_refused(store: Store, spec: str) -> None:
    with pytest.raises(InvalidDepError):
        await store.deps.add("fine", spec)
    assert await store.deps.list() == []


# The storage


async def test_a_storage_answers_and_says_where_it_is(store: Store) -> None:
    await store.check()
    assert store.describe().startswith(("memory of", "files at /", "Redis at "))


async def test_a_closed_storage_can_be_used_again(store: Store) -> None:
    await store.tools.add("jq", "x")
    await store.aclose()
    assert await store.tools.list() == {"jq": "x"}
