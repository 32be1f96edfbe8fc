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
    Display,
    Done,
    Output,
    Ready,
    ViolationError,
    error_frame,
    reply_frame,
    take_frame,
)
from py_code_mode_guest.records import Record, ext_hook
from py_code_mode_guest.wire import EXT_BLOB, EXT_INTEGER, EXT_RECORD, HEADER, pack, pack_blob

DONE = {"type": "done", "id": 1, "value": None, "parts": [], "truncated": []}
CALL: dict[str, Any] = {
    "type": "call", "id": 1, "namespace": "n", "operation": "o", "args": [], "kwargs": {},
}  # fmt: skip


def take(message: object) -> object:
    return take_frame(bytearray(pack(message)), 1_000_000, 1_000_000)


def test_well_formed_frames_are_read() -> None:
    assert take({"type": "ready"}) == Ready()
    assert take({"type": "output", "parts": [["stdout", "x"]]}) == Output([("stdout", "x")])
    assert take({"type": "display", "bundle": {"text/plain": "x"}}) == Display({"text/plain": "x"})
    assert take(DONE) == Done(1, None, None, None, [], [])
    failed = {**DONE, "error": {"type": "E", "traceback": "t"}, "truncated": ["value"]}
    assert take(failed) == Done(1, None, "E", "t", [], ["value"])
    big = msgpack.ExtType(EXT_INTEGER, (10**30).to_bytes(13, "big"))
    blob = msgpack.ExtType(EXT_BLOB, pack_blob("a/b", b"x"))
    call = take({**CALL, "args": [big, blob], "kwargs": {"k": [1.5]}})
    assert call == Call(1, "n", "o", [10**30, Blob("a/b", b"x")], {"k": [1.5]})


def test_an_incomplete_frame_waits_for_the_rest() -> None:
    frame = pack(DONE)
    for cut in range(len(frame)):
        received = bytearray(frame[:cut])
        assert take_frame(received, 1_000_000, 1_000_000) is None
        assert received == frame[:cut]


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


def test_a_frame_over_the_limit_is_a_violation_before_it_arrives() -> None:
    with pytest.raises(ViolationError, match="bytes"):
        take_frame(bytearray(HEADER.pack(0xFFFFFFFF)), 1_000_000, 1_000_000)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise_anything_else(body: bytes) -> None:
    received = bytearray(HEADER.pack(len(body)) + body)
    try:
        take_frame(received, 1_000_000, 1_000_000)
    except ViolationError:
        return


def unpack(frame: bytes) -> Any:
    return msgpack.unpackb(frame[HEADER.size :], ext_hook=ext_hook)


def test_replies_carry_records_blobs_and_long_integers() -> None:
    record = SkillRecord("s", "d", [{"name": "x"}], 1, "", "api", "now")
    value = unpack(reply_frame(3, [record, 10**40, (1,), {"a": Blob("x/y", b"z")}]))["value"]
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
