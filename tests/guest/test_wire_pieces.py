"""Large arguments travel as they are; what arrives is what packing would have sent."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode_guest import wire

SIZES = st.sampled_from([0, 1, wire._LARGE - 1, wire._LARGE, wire._LARGE + 1])
VALUES = st.one_of(
    st.integers(-5, 5), st.text(max_size=5), SIZES.map(lambda size: bytes([size % 251]) * size)
)


def call(args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "call", "id": 7, "namespace": "a", "operation": "b", "args": args,
            "kwargs": kwargs}  # fmt: skip


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_the_pieces_are_the_frame(args: list[Any], kwargs: dict[str, Any]) -> None:
    message = call(args, kwargs)
    assert b"".join(wire.pack_pieces(message)) == wire.pack(message) or _same(message)


def _same(message: dict[str, Any]) -> bool:
    """Large bytes may have a longer length field than packing gives them; the values are equal."""
    frame = b"".join(wire.pack_pieces(message))
    size = wire.HEADER.unpack_from(frame)[0]
    unpacked = msgpack.unpackb(frame[wire.HEADER.size :])
    return bool(size == len(frame) - wire.HEADER.size and unpacked == message)


def test_large_arguments_are_not_copied() -> None:
    body = b"x" * wire._LARGE
    assert any(piece is body for piece in wire.pack_pieces(call([body], {"again": body})))


def test_a_frame_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="over the frame limit"):
        wire.pack_pieces(call([b"x" * wire.MAX_FRAME_BYTES], {}))
