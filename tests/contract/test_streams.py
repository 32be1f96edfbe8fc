"""Bodies in pieces: the same on every back end, and the same as whole ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from py_code_mode.errors import (
    ArtifactNotFoundError,
    ArtifactTypeError,
    InvalidArtifactNameError,
)
from py_code_mode.store.base import Store, StoredArtifact
from py_code_mode.store.pieces import PIECE_BYTES, gathered

LARGE = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"


async def pieces(body: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    """Yield a body as a client sends it."""
    for start in range(0, len(body), size):
        await asyncio.sleep(0)
        yield body[start : start + size]


async def sent(store: Store, name: str) -> tuple[StoredArtifact, bytes]:
    """Return what ``sending`` gives."""
    async with store.artifacts.sending(name) as (stored, body):
        return stored, b"".join([piece async for piece in body])


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("body", [b"", b"x", b"x" * PIECE_BYTES, LARGE])
async def test_a_body_in_pieces_is_a_body(store: Store, body: bytes) -> None:
    saved = await store.artifacts.receive(
        "a/b", pieces(body), media_type="text/csv", description="d", metadata={"k": [1]}
    )
    assert (saved.size, saved.media_type, saved.metadata) == (len(body), "text/csv", {"k": [1]})
    assert await store.artifacts.read("a/b") == (saved, body)
    assert await sent(store, "a/b") == (saved, body)
    assert await store.artifacts.list() == [saved]
    whole = await store.artifacts.add("a/b", body[::-1])
    assert await sent(store, "a/b") == (whole, body[::-1])


async def test_until_a_body_is_whole_there_is_the_old_one(store: Store, tmp_path: Path) -> None:
    old = await store.artifacts.add("x", b"old")
    before = files(tmp_path)
    half, rest = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield LARGE
        half.set()
        await rest.wait()
        yield LARGE

    saving = asyncio.create_task(store.artifacts.receive("x", slowly()))
    await half.wait()
    assert await store.artifacts.read("x") == (old, b"old")
    assert await sent(store, "x") == (old, b"old")
    rest.set()
    assert await sent(store, "x") in [(old, b"old"), (await saving, LARGE + LARGE)]
    assert await sent(store, "x") == (saving.result(), LARGE + LARGE)
    assert len(files(tmp_path)) <= len(before) + 1


@pytest.mark.parametrize("how", ["raises", "cancelled"])
async def test_a_body_that_breaks_off_leaves_nothing(
    store: Store, tmp_path: Path, how: str
) -> None:
    old = await store.artifacts.add("x", b"old")
    before = files(tmp_path)
    sending = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        yield b"more"
        sending.set()
        if how == "raises":
            raise ConnectionError("gone")
        await asyncio.Event().wait()

    saving = asyncio.create_task(store.artifacts.receive("x", broken()))
    await sending.wait()
    if how == "cancelled":
        saving.cancel()
    with pytest.raises(ConnectionError if how == "raises" else asyncio.CancelledError):
        await saving
    assert files(tmp_path) == before
    assert await store.artifacts.list() == [old]


async def test_what_is_refused_is_refused_before_the_body_is_read(store: Store) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    with pytest.raises(InvalidArtifactNameError):
        await store.artifacts.receive("../x", never())
    with pytest.raises(ArtifactTypeError):
        await store.artifacts.receive("x", never(), metadata={"a": object()})


async def test_a_name_in_the_way_is_refused_and_leaves_nothing(
    store: Store, tmp_path: Path
) -> None:
    saved = await store.artifacts.add("a", b"x")
    before = files(tmp_path)
    with pytest.raises(InvalidArtifactNameError, match="'a'"):
        await store.artifacts.receive("a/b", pieces(LARGE))
    assert files(tmp_path) - before <= {path for path in files(tmp_path) if path.name == "lock"}
    assert await store.artifacts.list() == [saved]


async def test_what_is_missing_is_told_before_anything_is_sent(store: Store) -> None:
    with pytest.raises(ArtifactNotFoundError):
        async with store.artifacts.sending("never"):
            pass


async def test_what_is_sent_is_one_whole_body_whatever_writers_do(store: Store) -> None:
    bodies = [bytes([number]) * PIECE_BYTES * 2 for number in range(4)]
    await store.artifacts.add("x", bodies[0], description="0")

    async def write() -> None:
        for number in [*range(4)] * 3:
            body = bodies[number]
            await store.artifacts.receive("x", pieces(body, PIECE_BYTES), description=str(number))

    async def read() -> None:
        while not writing.done():
            saved, body = await sent(store, "x")
            assert body == bodies[int(saved.description)]
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    await asyncio.gather(read(), read(), writing)


async def test_small_pieces_are_gathered_in_their_order() -> None:
    body = bytes(range(256)) * 10_000
    found = [piece async for piece in gathered(pieces(body, 1000))]
    assert b"".join(found) == body
    assert [len(piece) >= PIECE_BYTES for piece in found] == [True, True, False]
