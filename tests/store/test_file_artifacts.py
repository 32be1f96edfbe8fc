"""Artifacts as files that people edit, links among them, and what a crash leaves."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from py_code_mode.errors import ArtifactNotFoundError, InvalidArtifactNameError
from py_code_mode.store import file_bodies, file_folders
from py_code_mode.store.base import StoredArtifact
from py_code_mode.store.draft import Draft
from py_code_mode.store.file import FileStorage
from py_code_mode.store.file_artifact_records import MAX_RECORDS_BYTES

LONG_AGO = 1_700_000_000


def write_by_hand(base: Path, name: str, body: bytes) -> None:
    """Put a body there as a person would."""
    file = base / "artifacts" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    os.utime(file, (LONG_AGO, LONG_AGO))


def by_hand(name: str, media_type: str, size: int) -> StoredArtifact:
    """Return what the store says of such a file."""
    created_at = datetime.fromtimestamp(LONG_AGO, UTC).isoformat(timespec="microseconds")
    return StoredArtifact(name, media_type, size, "", created_at, {})


@pytest.mark.parametrize(
    ("name", "body", "media_type"),
    [
        ("a.json", b'{"a": [1, 2.5, null]}', "application/json"),
        ("a.JSON", b'"\xc3\xa9"', "application/json"),
        ("a.json", b"{", "text/plain"),
        ("a.json", b"NaN", "text/plain"),
        ("a.json", b"[" * 100_000, "text/plain"),
        ("a.json", b"\xff", "application/octet-stream"),
        ("a.txt", b"hello", "text/plain"),
        ("a.txt", b"\xe9", "application/octet-stream"),
        ("a.md", b"# hi", "text/markdown"),
        ("a.csv", b"a,b\n", "text/csv"),
        ("a.html", b"<p>", "text/html"),
        ("a.yaml", b"a: 1", "text/plain"),
        ("a.csv.gz", b"\x1f\x8b", "application/octet-stream"),
        ("a.png", b"\x89PNG", "image/png"),
        ("a.svg", b"<svg/>", "image/svg+xml"),
        ("a.webp", b"", "image/webp"),
        ("a.pdf", b"", "application/pdf"),
        ("a.whatever", b"text", "application/octet-stream"),
        ("noname", b"text", "application/octet-stream"),
        (".json", b"{}", "application/octet-stream"),
    ],
)
async def test_a_body_put_there_by_hand_is_typed_by_its_suffix(
    storage: FileStorage, base: Path, name: str, body: bytes, media_type: str
) -> None:
    write_by_hand(base, f"in/{name}", body)
    expected = by_hand(f"in/{name}", media_type, len(body))
    assert await storage.artifacts.list() == [expected]
    assert await storage.artifacts.get(f"in/{name}") == expected
    assert await storage.artifacts.read(f"in/{name}") == (expected, body)


async def test_a_body_edited_by_hand_loses_its_record(storage: FileStorage, base: Path) -> None:
    await storage.artifacts.add("a.txt", b"{}", media_type="application/json", description="d")
    write_by_hand(base, "a.txt", b"hi")
    assert await storage.artifacts.read("a.txt") == (by_hand("a.txt", "text/plain", 2), b"hi")
    saved = await storage.artifacts.add("a.txt", b"ho", description="e")
    assert await storage.artifacts.read("a.txt") == (saved, b"ho")


async def test_a_body_edited_in_place_is_seen_at_once(storage: FileStorage, base: Path) -> None:
    write_by_hand(base, "a.json", b"[]")
    assert (await storage.artifacts.get("a.json")).media_type == "application/json"
    for body, media_type in [(b"x!", "text/plain"), (b"{}", "application/json")] * 20:
        (base / "artifacts" / "a.json").write_bytes(body)
        assert (await storage.artifacts.get("a.json")).media_type == media_type
        assert (await storage.artifacts.list())[0].media_type == media_type


async def test_a_body_deleted_by_hand_is_gone(storage: FileStorage, base: Path) -> None:
    await storage.artifacts.add("a", b"x", description="d")
    (base / "artifacts" / "a").unlink()
    assert await storage.artifacts.list() == []
    with pytest.raises(ArtifactNotFoundError):
        await storage.artifacts.read("a")
    write_by_hand(base, "a", b"y")
    assert await storage.artifacts.list() == [by_hand("a", "application/octet-stream", 1)]


@pytest.mark.parametrize("copy", [shutil.copy2, shutil.copyfile])
async def test_a_copied_store_keeps_its_records(
    storage: FileStorage, base: Path, tmp_path: Path, copy: object
) -> None:
    saved = [await storage.artifacts.add(name, b"x", description=name) for name in ["a", "b/c"]]
    shutil.copytree(base, tmp_path / "copy", copy_function=copy)  # type: ignore[arg-type]
    copied = FileStorage(tmp_path / "copy").artifacts
    assert await copied.list() == saved
    assert await copied.read("b/c") == (saved[1], b"x")
    new = await copied.add("a", b"y")
    assert await copied.list() == [new, saved[1]]


async def test_a_listing_reads_no_body_that_has_a_record_and_no_other_twice(
    storage: FileStorage, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.artifacts.add("saved", b"x")
    write_by_hand(base, "hand.json", b"{}")
    looked: list[str] = []
    real = file_folders.read_file

    def counting(within: int, name: str) -> tuple[bytes, os.stat_result]:
        looked.append(name)
        return real(within, name)

    monkeypatch.setattr(file_bodies, "read_file", counting)
    for _ in range(3):
        assert len(await storage.artifacts.list()) == 2
    assert looked == ["hand.json"]


async def test_a_body_too_large_to_look_into_is_typed_without(
    storage: FileStorage, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_bodies, "MAX_LOOKED_INTO", 3)
    for name in ["a.json", "a.png"]:
        write_by_hand(base, name, b"1234")
    assert await storage.artifacts.list() == [
        by_hand("a.json", "application/octet-stream", 4),
        by_hand("a.png", "image/png", 4),
    ]
    saved = await storage.artifacts.add("a.json", b"56789", description="d")
    os.utime(base / "artifacts" / "a.json")
    assert await storage.artifacts.get("a.json") == saved


async def test_files_whose_names_are_no_artifact_names_are_passed_over(
    storage: FileStorage, base: Path
) -> None:
    saved = await storage.artifacts.add("fine", b"x")
    for ignored in ["a\nb", "a\\b", ".state/x", "x" * 201, os.fsdecode(b"\xff")]:
        write_by_hand(base, ignored, b"x")
    deep = base / "artifacts" / "/".join("d" * 100 for _ in range(6))
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"x")
    assert await storage.artifacts.list() == [saved]


async def test_links_pipes_and_folders_are_never_read_as_artifacts(
    storage: FileStorage, base: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    saved = await storage.artifacts.add("fine", b"x")
    (base / "artifacts" / "file").symlink_to(outside / "secret")
    (base / "artifacts" / "dangling").symlink_to(outside / "absent")
    (base / "artifacts" / "inner").symlink_to(base / "artifacts" / "fine")
    (base / "artifacts" / "folder").symlink_to(outside)
    os.mkfifo(base / "artifacts" / "pipe")
    assert await storage.artifacts.list() == [saved]
    names = ["file", "dangling", "inner", "pipe", "folder", "folder/secret", "folder/new/x"]
    for name in names:
        for ask in [
            storage.artifacts.get(name),
            storage.artifacts.read(name),
            storage.artifacts.add(name, b"mine"),
            storage.artifacts.remove(name),
        ]:
            with pytest.raises(InvalidArtifactNameError, match="links are not followed") as caught:
                await ask
            assert caught.value.name == name
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert await storage.artifacts.list() == [saved]


async def test_folders_emptied_by_hand_do_not_block_a_name(
    storage: FileStorage, base: Path, tmp_path: Path
) -> None:
    (base / "artifacts" / "a" / "b" / "c").mkdir(parents=True)
    (base / "artifacts" / "a" / "d").mkdir()
    saved = await storage.artifacts.add("a", b"x")
    assert await storage.artifacts.list() == [saved]
    (base / "artifacts" / "e").mkdir()
    (base / "artifacts" / "e" / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidArtifactNameError, match="holds links or files"):
        await storage.artifacts.add("e", b"x")


async def test_removing_the_last_artifact_of_folders_removes_them(
    storage: FileStorage, base: Path
) -> None:
    for name in ["a/b/c/d", "a/x"]:
        await storage.artifacts.add(name, b"")
    await storage.artifacts.remove("a/b/c/d")
    assert os.listdir(base / "artifacts" / "a") == ["x"]
    await storage.artifacts.remove("a/x")
    assert os.listdir(base / "artifacts") == []
    assert os.listdir(base / ".state" / "artifacts") == []


async def test_a_writer_that_dies_before_the_body_is_in_place_leaves_the_old_value(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await storage.artifacts.add("a", b"old", media_type="text/plain", description="old")
    for body in [b"new", b"old", b"longer"]:
        with monkeypatch.context() as patch:
            patch.setattr(Draft, "place", dying)
            with pytest.raises(RuntimeError, match="died"):
                await storage.artifacts.add("a", body, description="new")
        assert await storage.artifacts.read("a") == (old, b"old")
        assert await storage.artifacts.list() == [old]
    new = await storage.artifacts.add("a", b"new")
    assert await storage.artifacts.read("a") == (new, b"new")


async def test_a_creator_that_dies_leaves_no_artifact(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Draft, "place", dying)
        with pytest.raises(RuntimeError, match="died"):
            await storage.artifacts.add("a/b", b"x")
    assert await storage.artifacts.list() == []
    saved = await storage.artifacts.add("a", b"y")
    assert await storage.artifacts.list() == [saved]


@pytest.mark.parametrize("damage", [b"", b"\xff", b"{", b'\n{"name": "a"}\n[]\nnull\n'])
async def test_a_damaged_record_costs_the_record_alone(
    storage: FileStorage, base: Path, damage: bytes
) -> None:
    await storage.artifacts.add("a.txt", b"x", description="d")
    for file in (base / ".state" / "artifacts").iterdir():
        file.write_bytes(damage)
    assert (await storage.artifacts.get("a.txt")).media_type == "text/plain"
    saved = await storage.artifacts.add("a.txt", b"y", description="e")
    assert await storage.artifacts.get("a.txt") == saved


async def test_the_file_of_records_stays_short(storage: FileStorage, base: Path) -> None:
    longest = 0
    for number in range(60):
        saved = await storage.artifacts.add("a", b"%d" % number, description="d" * number)
        assert await storage.artifacts.get("a") == saved
        (file,) = (base / ".state" / "artifacts").iterdir()
        longest = max(longest, file.stat().st_size)
    assert longest <= MAX_RECORDS_BYTES
    big = await storage.artifacts.add("a", b"x", description="d" * MAX_RECORDS_BYTES)
    bigger = await storage.artifacts.add("a", b"y", description="e" * MAX_RECORDS_BYTES)
    assert big.size == bigger.size
    assert await storage.artifacts.get("a") == bigger


def dying(self: Draft, within: int, name: str) -> None:
    """Fail in the place of ``Draft.place``."""
    raise RuntimeError("died")
