"""Skills as files that people edit, and what a crash leaves of them."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from py_code_mode.errors import (
    InvalidSkillError,
    SkillNotFoundError,
    SkillProtectedError,
)
from py_code_mode.store.base import KEPT_VERSIONS, StoredSkill
from py_code_mode.store.draft import Draft
from py_code_mode.store.file import FileStorage

LONG_AGO = 1_700_000_000


def write_by_hand(base: Path, name: str, source: str | bytes, when: int = LONG_AGO) -> None:
    """Put a skill's file there as an editor would."""
    file = base / "skills" / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    os.utime(file, (when, when))


def by_hand(name: str, source: str, version: int = 1, when: int = LONG_AGO) -> StoredSkill:
    """Return what the store says of such a file."""
    created_at = datetime.fromtimestamp(when, UTC).isoformat(timespec="microseconds")
    return StoredSkill(name, source, "", version, "", "config", created_at)


async def test_a_skill_written_by_hand_has_origin_config(storage: FileStorage, base: Path) -> None:
    write_by_hand(base, "f", "a = 1\n")
    assert await storage.skills.list() == [by_hand("f", "a = 1\n")]
    assert await storage.skills.get("f") == by_hand("f", "a = 1\n")
    assert await storage.skills.get("f", 1) == by_hand("f", "a = 1\n")
    with pytest.raises(SkillNotFoundError, match="no version 2; kept: 1"):
        await storage.skills.get("f", 2)
    with pytest.raises(SkillProtectedError):
        await storage.skills.add("f", "x", overwrite=True, replaceable=frozenset({"agent"}))


async def test_a_skill_edited_by_hand_is_the_next_version(storage: FileStorage, base: Path) -> None:
    saved = await storage.skills.add("f", "a = 1\n", origin="agent", author="x")
    before = await storage.skills.revision()
    write_by_hand(base, "f", "a = 2\n")
    assert await storage.skills.get("f") == by_hand("f", "a = 2\n", version=2)
    assert await storage.skills.get("f", 1) == saved
    assert await storage.skills.revision() != before
    with pytest.raises(SkillProtectedError):
        await storage.skills.remove("f", removable=frozenset({"agent"}))


async def test_a_skill_edited_by_hand_is_kept_when_it_is_overwritten(
    storage: FileStorage, base: Path
) -> None:
    first = await storage.skills.add("f", "a = 1\n", origin="agent")
    write_by_hand(base, "f", "a = 2\n")
    third = await storage.skills.add("f", "a = 3\n", origin="agent", overwrite=True)
    assert third.version == 3
    assert await storage.skills.get("f", 1) == first
    assert await storage.skills.get("f", 2) == by_hand("f", "a = 2\n", version=2)
    assert await storage.skills.get("f") == third


async def test_a_skill_put_back_by_hand_to_an_earlier_version_is_a_new_version(
    storage: FileStorage, base: Path
) -> None:
    await storage.skills.add("f", "a = 1\n", origin="agent")
    await storage.skills.add("f", "a = 2\n", origin="agent", overwrite=True)
    write_by_hand(base, "f", "a = 1\n")
    assert await storage.skills.get("f") == by_hand("f", "a = 1\n", version=3)


async def test_an_edit_by_hand_that_is_taken_back_was_none(
    storage: FileStorage, base: Path
) -> None:
    saved = await storage.skills.add("f", "a = 1\n", origin="agent")
    write_by_hand(base, "f", "a = 2\n")
    write_by_hand(base, "f", "a = 1\n")
    assert await storage.skills.get("f") == saved


async def test_a_skill_deleted_by_hand_is_gone_with_its_versions(
    storage: FileStorage, base: Path
) -> None:
    for number in [1, 2]:
        await storage.skills.add("f", f"a = {number}\n", overwrite=True)
    (base / "skills" / "f.py").unlink()
    assert await storage.skills.list() == []
    for version in [None, 1]:
        with pytest.raises(SkillNotFoundError, match="there is no skill 'f'"):
            await storage.skills.get("f", version)
    new = await storage.skills.add("f", "a = 3\n")
    assert new.version == 1
    assert await storage.skills.get("f", 1) == new


async def test_a_removed_skill_leaves_no_file(storage: FileStorage, base: Path) -> None:
    for number in range(KEPT_VERSIONS + 5):
        await storage.skills.add("f", f"a = {number}\n", overwrite=True)
    assert len(os.listdir(base / ".state" / "skills" / "f")) == KEPT_VERSIONS
    await storage.skills.remove("f")
    assert os.listdir(base / "skills") == []
    assert os.listdir(base / ".state" / "skills") == []


async def test_files_that_are_no_skills_are_passed_over(
    storage: FileStorage, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = await storage.skills.add("fine", "a = 1\n")
    for ignored in ["not-a-name", "class", ".hidden", "1a", "x.y"]:
        write_by_hand(base, ignored, "x")
    (base / "skills" / "notes.txt").write_text("x")
    (base / "skills" / "__pycache__").mkdir()
    write_by_hand(base, "latin", b"# \xe9\n")
    (tmp_path / "outside.py").write_text("secret")
    (base / "skills" / "link.py").symlink_to(tmp_path / "outside.py")
    os.mkfifo(base / "skills" / "pipe.py")
    with caplog.at_level(logging.WARNING):
        assert await storage.skills.list() == [saved]
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"{base}/skills/{name}.py" for name in ["latin", "link", "pipe"]
    ]


async def test_a_link_is_refused_in_every_call(
    storage: FileStorage, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.py").write_text("secret")
    (base / "skills").mkdir(parents=True)
    (base / "skills" / "link.py").symlink_to(tmp_path / "outside.py")
    for ask in [
        storage.skills.get("link"),
        storage.skills.add("link", "x", overwrite=True),
        storage.skills.remove("link"),
    ]:
        with pytest.raises(InvalidSkillError, match="links are not followed"):
            await ask
    assert (tmp_path / "outside.py").read_text() == "secret"


async def test_a_source_that_is_no_text_is_said_and_can_be_replaced(
    storage: FileStorage, base: Path
) -> None:
    write_by_hand(base, "f", b"# \xe9\n")
    with pytest.raises(InvalidSkillError, match="not UTF-8"):
        await storage.skills.get("f")
    assert (await storage.skills.add("f", "a = 1\n", overwrite=True)).version == 2
    with pytest.raises(InvalidSkillError, match="not UTF-8"):
        await storage.skills.get("f", 1)
    with pytest.raises(InvalidSkillError):
        await storage.skills.add("g", "'\ud800'")


async def test_a_byte_order_mark_is_not_part_of_the_source(
    storage: FileStorage, base: Path
) -> None:
    write_by_hand(base, "f", b"\xef\xbb\xbfa = 1\n")
    assert await storage.skills.get("f") == by_hand("f", "a = 1\n")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"versions": [{}]}', b"\xff"])
async def test_a_damaged_history_costs_the_history_alone(
    storage: FileStorage, base: Path, damage: bytes
) -> None:
    await storage.skills.add("f", "a = 1\n", origin="agent")
    (base / ".state" / "skills" / "f.json").write_bytes(damage)
    os.utime(base / "skills" / "f.py", (LONG_AGO, LONG_AGO))
    assert await storage.skills.list() == [by_hand("f", "a = 1\n")]
    new = await storage.skills.add("f", "a = 2\n", overwrite=True)
    assert await storage.skills.list() == [new]
    assert await storage.skills.get("f", 1) == by_hand("f", "a = 1\n")


@pytest.mark.parametrize("step", ["2.py", "f.json", "f.py"])
async def test_an_overwriter_that_dies_before_any_step_leaves_the_old_skill(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old = await storage.skills.add("f", "a = 1\n", origin="agent", author="x")
    with monkeypatch.context() as patch:
        patch.setattr(Draft, "place", dying_before(step))
        with pytest.raises(RuntimeError, match="died"):
            await storage.skills.add("f", "a = 2\n", overwrite=True)
    assert await storage.skills.list() == [old]
    assert await storage.skills.get("f", 1) == old
    with pytest.raises(SkillNotFoundError):
        await storage.skills.get("f", 2)
    new = await storage.skills.add("f", "a = 3\n", overwrite=True)
    assert (new.version, await storage.skills.get("f", 1)) == (2, old)
    assert await storage.skills.get("f", 2) == new


@pytest.mark.parametrize("step", ["1.py", "f.json", "f.py"])
async def test_a_creator_that_dies_before_any_step_leaves_no_skill(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Draft, "place", dying_before(step))
        with pytest.raises(RuntimeError, match="died"):
            await storage.skills.add("f", "a = 1\n")
    assert await storage.skills.list() == []
    assert (await storage.skills.add("f", "a = 2\n")).version == 1


def dying_before(step: str) -> object:
    """Return a ``Draft.place`` that fails instead of putting ``step`` in place."""
    place = Draft.place

    def dying(self: Draft, within: int, name: str) -> None:
        if name == step:
            raise RuntimeError("died")
        place(self, within, name)

    return dying
