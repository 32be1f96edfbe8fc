"""Large values travel as they are; what arrives is what packing would have sent."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.models import Blob
from py_code_mode.workers.outgoing import reply_frame
from py_code_mode_guest import wire
from py_code_mode_guest.records import ext_hook

SIZES = st.sampled_from([0, 1, wire.LARGE - 1, wire.LARGE, wire.LARGE + 1])
VALUES = st.one_of(
    st.integers(-5, 5), st.text(max_size=5), SIZES.map(lambda size: bytes([size % 251]) * size)
)


def call(args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "call", "id": 7, "namespace": "a", "operation": "b", "args": args,
            "kwargs": kwargs}  # fmt: skip


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_the_pieces_are_the_frame(args: list[Any], kwargs: dict[str, Any]) -> None:
    message = call(args, kwargs)
    assert b"".join(wire.pack_call(message)) == wire.pack(message) or _same(message)


def _same(message: dict[str, Any]) -> bool:
    """Large bytes may have a longer length field than packing gives them; the values are equal."""
    frame = b"".join(wire.pack_call(message))
    size = wire.HEADER.unpack_from(frame)[0]
    unpacked = msgpack.unpackb(frame[wire.HEADER.size :])
    return bool(size == len(frame) - wire.HEADER.size and unpacked == message)


def test_large_arguments_are_not_copied() -> None:
    body = b"x" * wire.LARGE
    assert any(piece is body for piece in wire.pack_call(call([body], {"again": body})))


def test_a_frame_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="over the frame limit"):
        wire.pack_call(call([b"x" * wire.MAX_FRAME_BYTES], {}))


@pytest.mark.parametrize("size", [wire.LARGE - 1, wire.LARGE, 3 * wire.LARGE])
def test_a_large_answer_arrives_as_a_small_one_does(size: int) -> None:
    body = bytes([size % 251]) * size
    for value in (body, Blob("image/png", body)):
        pieces = reply_frame(7, value, packages="/folder")
        assert any(piece is body for piece in pieces) == (size >= wire.LARGE)
        frame = b"".join(pieces)
        assert wire.HEADER.unpack_from(frame)[0] == len(frame) - wire.HEADER.size
        reply = msgpack.unpackb(frame[wire.HEADER.size :], ext_hook=ext_hook)
        got = reply.pop("value")
        assert reply == {"type": "reply", "id": 7, "packages": "/folder"}
        assert (got if type(got) is bytes else got.body) == body
        assert type(got) is bytes or got.media_type == "image/png"


def test_an_answer_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="over the frame limit"):
        reply_frame(1, b"x" * wire.MAX_FRAME_BYTES)


def test_what_has_no_form_on_the_wire_is_refused() -> None:
    with pytest.raises(TypeError, match="a complex has no form on the wire"):
        reply_frame(1, [1j])
