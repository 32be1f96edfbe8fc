"""Artifacts keep their type, are refused when they could not, and never fail to load."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import (
    ArtifactNotFoundError,
    ArtifactTooLargeError,
    ArtifactTypeError,
    InvalidArgumentError,
    InvalidArtifactNameError,
)
from py_code_mode.models import Blob
from py_code_mode.services.artifacts import ArtifactsService
from py_code_mode.store.memory_artifacts import MemoryArtifacts

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = (
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    )
    | st.binary()
)


@pytest.fixture
def store() -> MemoryArtifacts:
    return MemoryArtifacts()


@pytest.fixture
def artifacts(store: MemoryArtifacts) -> ArtifactsService:
    return ArtifactsService(store, max_bytes=1_000_000)


@given(VALUES)
async def test_what_is_saved_is_loaded(data: Any) -> None:
    artifacts = ArtifactsService(MemoryArtifacts(), max_bytes=1_000_000)
    await artifacts.save("a", data)
    assert repr(await artifacts.load("a")) == repr(data)


@pytest.mark.parametrize(
    ("data", "media_type", "body"),
    [
        ({"a": [1, -0.0, "é"]}, "application/json", '{"a":[1,-0.0,"é"]}'.encode()),
        ([], "application/json", b"[]"),
        (1, "application/json", b"1"),
        (True, "application/json", b"true"),
        (None, "application/json", b"null"),
        ('{"a": 1}', "text/plain; charset=utf-8", b'{"a": 1}'),
        (b"\x00\xff", "application/octet-stream", b"\x00\xff"),
        (Blob("image/png", b"\x89PNG"), "image/png", b"\x89PNG"),
    ],
)
async def test_the_type_is_kept_as_a_media_type(
    artifacts: ArtifactsService, store: MemoryArtifacts, data: Any, media_type: str, body: bytes
) -> None:
    record = await artifacts.save("scans/a", data, "First scan.", {"host": "a"})
    assert dict(record) == {
        "name": "scans/a",
        "description": "First scan.",
        "media_type": media_type,
        "size": len(body),
        "metadata": {"host": "a"},
        "created_at": record.created_at,
    }
    assert (await store.read("scans/a"))[1] == body
    loaded = await artifacts.load("scans/a")
    assert (type(loaded), loaded) == (type(data), data)
    assert dict(await artifacts.get("scans/a")) == dict(record)
    assert [dict(found) for found in await artifacts.list()] == [dict(record)]


@pytest.mark.parametrize(
    ("media_type", "body", "value"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/json; charset=utf-8", b"\xef\xbb\xbf[1]", [1]),
        ("application/json", b"{not json", "{not json"),
        ("application/json", b"NaN", "NaN"),
        ("application/json", b"[1e999]", "[1e999]"),
        ("application/json", b'"\\ud800"', '"\\ud800"'),
        ("application/json", b"9" * 5000, "9" * 5000),
        ("application/json", b"[" * 150 + b"]" * 150, "[" * 150 + "]" * 150),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("application/json", b"\xff", b"\xff"),
        ("application/json", b"", ""),
        ("text/csv", "a,é".encode(), "a,é"),
        ("TEXT/plain", b"\xff", b"\xff"),
        ("application/octet-stream", b"x", b"x"),
        ("application/vnd.odd", b"x", Blob("application/vnd.odd", b"x")),
        ("", b"x", Blob("", b"x")),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_body_made_by_hand_is_never_hidden_by_an_error(
    artifacts: ArtifactsService, store: MemoryArtifacts, media_type: str, body: bytes, value: Any
) -> None:
    await store.add("a", body, media_type=media_type)
    assert await artifacts.load("a") == value


@pytest.mark.parametrize(
    "data",
    [
        {1, 2},
        (1, 2),
        float("nan"),
        {"a": b""},
        "\ud800",
        bytearray(b"x"),
        object(),
        Blob("image", b""),
        Blob("image/png; x=y", b""),
        Blob("image/png\n", b""),
        Blob(f"image/{'x' * 100}", b""),
        Blob("image/png", bytearray()),  # type: ignore[arg-type]  # what is tested
        Blob(1, b""),  # type: ignore[arg-type]  # what is tested
        [Blob("image/png", b"")],
    ],
)
async def test_a_value_that_would_not_come_back_equal_is_refused_and_not_stored(
    artifacts: ArtifactsService, data: Any
) -> None:
    with pytest.raises(ArtifactTypeError):
        await artifacts.save("a", data)
    assert await artifacts.list() == []


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"x" * 1_000_001, {"size": 1_000_001, "max_bytes": 1_000_000}),
        ("é" * 500_001, {"size": 1_000_002, "max_bytes": 1_000_000}),
        (Blob("image/png", b"x" * 1_000_001), {"size": 1_000_001, "max_bytes": 1_000_000}),
        (["x" * 999_999], {"max_bytes": 1_000_000}),
    ],
    ids=["bytes", "str", "blob", "json"],
)
async def test_a_body_over_the_limit_is_refused_with_the_sizes(
    artifacts: ArtifactsService, data: Any, fields: dict[str, int]
) -> None:
    with pytest.raises(ArtifactTooLargeError, match="at most 1,000,000 are allowed") as caught:
        await artifacts.save("a", data)
    assert caught.value.fields == fields
    assert not await artifacts.exists("a")


async def test_a_limit_below_the_inline_size_is_kept_too() -> None:
    artifacts = ArtifactsService(MemoryArtifacts(), max_bytes=10)
    assert (await artifacts.save("a", [1, 2])).size == 5
    with pytest.raises(ArtifactTooLargeError):
        await artifacts.save("a", ["0123456789"])
    assert await artifacts.load("a") == [1, 2]


async def test_large_bodies_come_back_while_the_loop_keeps_turning(
    artifacts: ArtifactsService,
) -> None:
    data = {"rows": [[i, str(i), i / 7] for i in range(20_000)]}
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    ticker = asyncio.create_task(turn())
    await artifacts.save("a", data)
    loaded = await artifacts.load("a")
    ticker.cancel()
    assert loaded == data
    assert turns > 3


async def test_metadata_follows_the_same_rule_and_has_its_own_limit(
    artifacts: ArtifactsService,
) -> None:
    metadata = {"a": [1, None, {"b": -0.0}]}
    assert repr((await artifacts.save("a", 1, metadata=metadata)).metadata) == repr(metadata)
    with pytest.raises(ArtifactTypeError, match=r'^metadata\["a"\] is a tuple'):
        await artifacts.save("a", 2, metadata={"a": ()})
    with pytest.raises(ArtifactTooLargeError, match="the metadata has more than 65,536 bytes"):
        await artifacts.save("a", 2, metadata={"a": "x" * 65_536})
    assert await artifacts.load("a") == 1


async def test_a_description_is_one_line_in_listings_and_whole_in_get(
    artifacts: ArtifactsService,
) -> None:
    await artifacts.save("a", 1, "Line one.\n\x1b[31m" + "more " * 100)
    assert (await artifacts.list())[0].description == ("Line one. " + "more " * 100)[:199] + "…"
    assert (await artifacts.get("a")).description == "Line one.\n" + "more " * 100
    with pytest.raises(InvalidArgumentError):
        await artifacts.save("a", 1, "x" * 10_001)


async def test_what_is_not_there_is_not_found(artifacts: ArtifactsService) -> None:
    assert await artifacts.exists("a") is False
    for call in (artifacts.load, artifacts.get, artifacts.delete):
        with pytest.raises(ArtifactNotFoundError):
            await call("a")


async def test_a_deleted_artifact_is_gone(artifacts: ArtifactsService) -> None:
    await artifacts.save("a", 1)
    assert await artifacts.exists("a") is True
    await artifacts.delete("a")
    assert await artifacts.exists("a") is False


@pytest.mark.parametrize("name", ["", "../a", "/a", "a//b", "\ud800", "x" * 1000])
async def test_a_name_that_leaves_the_root_is_refused_everywhere(
    artifacts: ArtifactsService, name: str
) -> None:
    for call in (artifacts.load, artifacts.get, artifacts.delete, artifacts.exists):
        with pytest.raises(InvalidArtifactNameError):
            await call(name)
    with pytest.raises(InvalidArtifactNameError):
        await artifacts.save(name, 1)
