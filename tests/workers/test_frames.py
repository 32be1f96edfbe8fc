"""Frames from a guest: what is well formed is read, anything else is a violation."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import ArtifactNotFoundError
from py_code_mode.models import Blob, SkillRecord
from py_code_mode.workers.frames import (
    Call,
    Cancel,
    Display,
    Done,
    FrameLimits,
    Output,
    Ready,
    ViolationError,
    read_frame,
)
from py_code_mode.workers.outgoing import error_frame, reply_frame
from py_code_mode_guest.records import Record, ext_hook
from py_code_mode_guest.wire import (
    EXT_BLOB,
    EXT_INTEGER,
    EXT_RECORD,
    HEADER,
    MAX_STRUCTURE_BYTES,
    pack,
    pack_blob,
)

DONE = {"type": "done", "id": 1, "value": None, "parts": [], "truncated": []}
LIMITS = FrameLimits(said=1_000_000, structure=3_000_000)
CALL: dict[str, Any] = {
    "type": "call", "id": 1, "namespace": "n", "operation": "o", "args": [], "kwargs": {},
}  # fmt: skip


def take(message: object) -> object:
    return read_frame(memoryview(pack(message))[HEADER.size :], LIMITS)


def test_well_formed_frames_are_read() -> None:
    assert take({"type": "ready"}) == Ready()
    assert take({"type": "output", "parts": [["stdout", "x"]]}) == Output([("stdout", "x")])
    assert take({"type": "display", "bundle": {"text/plain": "x"}}) == Display({"text/plain": "x"})
    assert take({"type": "cancel", "id": 5}) == Cancel(5)
    assert take(DONE) == Done(1, None, None, None, [], [])
    failed = {**DONE, "error": {"type": "E", "traceback": "t"}, "truncated": ["value"]}
    assert take(failed) == Done(1, None, "E", "t", [], ["value"])
    big = msgpack.ExtType(EXT_INTEGER, (10**30).to_bytes(13, "big"))
    blob = msgpack.ExtType(EXT_BLOB, pack_blob("a/b", b"x"))
    call = take({**CALL, "args": [big, blob], "kwargs": {"k": [1.5]}})
    assert call == Call(1, "n", "o", [10**30, Blob("a/b", b"x")], {"k": [1.5]})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


BAD: dict[str, object] = {
    "no map": [1],
    "no type": {"x": 1},
    "unknown type": {"type": "run"},
    "extra fields": {"type": "ready", "x": 1},
    "call id of text": {**CALL, "id": "1"},
    "cancelling no id": {"type": "cancel"},
    "cancelling what is no id": {"type": "cancel", "id": "1"},
    "call without kwargs": {k: v for k, v in CALL.items() if k != "kwargs"},
    "endless names": {**CALL, "operation": "x" * 1000},
    "keys that are no text": {**CALL, "kwargs": {1: 2}},
    "unknown stream": {"type": "output", "parts": [["stdin", "x"]]},
    "output of bytes": {"type": "output", "parts": [["stdout", b"x"]]},
    "a display of numbers": {"type": "display", "bundle": {"text/plain": 1}},
    "a record from a guest": {**CALL, "args": [msgpack.ExtType(EXT_RECORD, b"\x80")]},
    "a timestamp": {**DONE, "value": msgpack.Timestamp(1)},
    "a blob as a value": {**DONE, "value": msgpack.ExtType(EXT_BLOB, pack_blob("a/b", b""))},
    "an integer without end": {**DONE, "value": msgpack.ExtType(EXT_INTEGER, b"x" * 5000)},
    "a malformed blob": {**CALL, "args": [msgpack.ExtType(EXT_BLOB, b"\x09a/b")]},
    "nesting": {**DONE, "value": nested(150)},
    "unknown truncation": {**DONE, "truncated": ["everything"]},
    "half an error": {**DONE, "error": {"type": "E"}},
}


@pytest.mark.parametrize("message", BAD.values(), ids=BAD)
def test_anything_else_is_a_violation(message: object) -> None:
    with pytest.raises(ViolationError):
        take(message)


def test_text_and_displays_may_be_large_where_the_operator_allows_it() -> None:
    limits = FrameLimits(said=30_000_000, structure=MAX_STRUCTURE_BYTES)
    text = "x" * (3 * MAX_STRUCTURE_BYTES)
    for message in (
        {"type": "output", "parts": [["stdout", "a"], ["stderr", text]]},
        {"type": "display", "bundle": {"image/png": text.encode(), "text/plain": "p"}},
        {**DONE, "value": text, "parts": [["stdout", text]]},
    ):
        frame = read_frame(memoryview(pack(message))[HEADER.size :], limits)
        assert isinstance(frame, (Output, Display, Done))


def test_a_value_may_have_the_structure_that_the_operator_allows() -> None:
    items = [1] * (MAX_STRUCTURE_BYTES + 1)
    body = memoryview(pack({**DONE, "value": items}))[HEADER.size :]
    frame = read_frame(body, FrameLimits(said=30_000_000, structure=MAX_STRUCTURE_BYTES + 10))
    assert isinstance(frame, Done)
    assert len(frame.value) == len(items)
    with pytest.raises(ViolationError, match="TooStructuredError"):
        read_frame(body, FrameLimits(said=30_000_000, structure=MAX_STRUCTURE_BYTES))


LARGE = b"x" * MAX_STRUCTURE_BYTES


@pytest.mark.parametrize(
    "message",
    [
        {**CALL, "args": [LARGE, [1] * MAX_STRUCTURE_BYTES]},
        {**CALL, "args": [LARGE, *[1] * 200_000]},
        {**CALL, "args": [LARGE, *["text"] * 200_000]},
        {**CALL, "args": [LARGE], "kwargs": {str(n): n for n in range(200_000)}},
        {**CALL, **{str(n): n for n in range(100)}, "args": [LARGE]},
        {"type": "output", "parts": [["stdout", "x"]] * 300_000},
    ],
    ids=["a list", "numbers", "texts", "names", "fields", "parts"],
)
def test_a_large_frame_of_many_things_is_a_violation(message: dict[str, Any]) -> None:
    """What is counted one by one is bounded, so that no frame holds the event loop for long."""
    with pytest.raises(ViolationError, match="TooStructuredError"):
        read_frame(memoryview(pack(message))[HEADER.size :], LIMITS)


def test_a_call_weighs_what_its_arguments_take_in_memory() -> None:
    weights = []
    arguments: list[Any] = [b"x" * 1000, "x" * 1000, "x" * 999 + "\U0001f600", [[]] * 1000]
    for argument in arguments:
        call = take({**CALL, "args": [argument]})
        assert isinstance(call, Call)
        weights.append(call.weight)
    raw, ascii_, wide, lists = weights
    assert 1000 < raw < 2000
    assert 1000 < ascii_ < 2000
    assert 4000 < wide < 5000  # one such character and all take four bytes
    assert 56_000 < lists < 90_000


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise_anything_else(body: bytes) -> None:
    try:
        read_frame(memoryview(body), LIMITS)
    except ViolationError:
        return


def unpack(frame: bytes) -> Any:
    return msgpack.unpackb(frame[HEADER.size :], ext_hook=ext_hook)


def test_replies_carry_records_blobs_and_long_integers() -> None:
    record = SkillRecord("s", "d", [{"name": "x"}], 1, "", "api", "now")
    sent = b"".join(reply_frame(3, [record, 10**40, (1,), {"a": Blob("x/y", b"z")}]))
    value = unpack(sent)["value"]
    assert type(value[0]) is Record
    assert (value[0].name, value[0]["parameters"]) == ("s", [{"name": "x"}])
    assert value[1:3] == [10**40, [1]]
    assert (value[3]["a"].media_type, value[3]["a"].body) == ("x/y", b"z")


def test_an_error_crosses_with_its_fields() -> None:
    frame = unpack(error_frame(5, ArtifactNotFoundError("no 'a'", name="a")))
    assert frame == {
        "type": "reply",
        "id": 5,
        "error": {"type": "ArtifactNotFoundError", "message": "no 'a'", "fields": {"name": "a"}},
    }
