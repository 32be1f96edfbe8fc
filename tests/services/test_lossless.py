"""JSON values come back equal and of the same types; everything else is refused by its place."""

from __future__ import annotations

import collections
import enum
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import ArtifactTypeError
from py_code_mode.services.lossless import OverSizeError, encode_json

KEPT = "dict with string keys, list, str, int, float, bool and None come back as they are"
TEXT = st.text(st.characters(codec="utf-8"))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


Pair = collections.namedtuple("Pair", "a b")
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
HALF = "has half of a surrogate pair, which is no text"
DEEP = "is nested more than 100 deep, or contains itself"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def encode(data: Any, max_bytes: int = 1_000_000) -> bytes:
    return encode_json(data, where="data", max_bytes=max_bytes)


def unfit(what: str, hint: str = "") -> str:
    return f"is {what}, which would not come back equal{hint} ({KEPT})"


REFUSED: list[tuple[Any, str]] = [
    ({1, 2}, f"data {unfit('a set', '; convert it with sorted(...) or list(...)')}"),
    ({"a": [0, (1,)]}, f'data["a"][1] {unfit("a tuple", "; convert it with list(...)")}'),
    ([Pair(1, 2)], f"data[0] {unfit('a Pair')}"),
    ({"a": b""}, f'data["a"] {unfit("a bytes", "; save bytes by themselves, or as base64 text")}'),
    ([bytearray()], f"data[0] {unfit('a bytearray')}"),
    ([object()], f"data[0] {unfit('an object')}"),
    ([Colour.RED], f"data[0] {unfit('a Colour')}"),
    ([Text("x")], f"data[0] {unfit('a Text')}"),
    (collections.OrderedDict(), f"data {unfit('an OrderedDict')}"),
    (1j, f"data {unfit('a complex')}"),
    ({"x": math.nan}, 'data["x"] is nan, which JSON cannot hold; use None or text'),
    ([-math.inf], "data[0] is -inf, which JSON cannot hold; use None or text"),
    ({"a": {1: 2}}, 'data["a"] has a key that is an int; JSON keys are strings'),
    ({None: 2}, "data has a key that is a NoneType; JSON keys are strings"),
    ({Text("x"): 2}, "data has a key that is a Text; JSON keys are strings"),
    (["\ud800"], f"data[0] {HALF}"),
    ({"\udc00": 1}, f'data["\\udc00"] {HALF}'),
    ([10**4300], "data[0] is an integer of more than 4,300 digits; save it as text"),
    ([-(10**4300)], "data[0] is an integer of more than 4,300 digits; save it as text"),
    (nested(101), f"data{'[0]' * 100} {DEEP}"),
    (CYCLE, f"data{'[0]' * 100} {DEEP}"),
    (
        {"k" * 100: [()]},
        f'data["{"k" * 40}..."][0] {unfit("a tuple", "; convert it with list(...)")}',
    ),
]


@given(JSON_VALUES)
def test_a_json_value_comes_back_equal_and_of_the_same_types(data: Any) -> None:
    # repr tells apart what == does not: 1, 1.0 and True; 0.0 and -0.0.
    assert repr(json.loads(encode(data))) == repr(data)


@pytest.mark.parametrize(
    "data",
    [
        -0.0,
        5e-324,
        1.7976931348623157e308,
        0.1,
        10**4299,
        -(10**4300 - 1),
        "\x00\x7f\u2028\U0001f600",
        nested(100),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "integer",
)
def test_the_borders_come_back(data: Any) -> None:
    assert repr(json.loads(encode(data))) == repr(data)


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[m[:30] for _, m in REFUSED])
def test_what_would_not_come_back_equal_is_refused_by_its_place(data: Any, message: str) -> None:
    with pytest.raises(ArtifactTypeError) as caught:
        encode(data)
    assert caught.value.message.startswith(message[:200])
    assert len(caught.value.message) < 600
    assert caught.value.message.isascii()


@given(
    JSON_VALUES,
    st.sampled_from([{1}, (1,), math.nan, b"", 1j, Colour.RED, "\ud800", object(), {1: 2}]),
    st.booleans(),
)
def test_one_unfit_value_anywhere_is_enough(data: Any, bad: Any, first: bool) -> None:
    holder = {"data": data, "bad": [bad]} if first else [[data], {"x": bad}]
    with pytest.raises(ArtifactTypeError):
        encode(holder)


@given(JSON_VALUES)
def test_the_limit_is_the_size_of_the_body(data: Any) -> None:
    size = len(encode(data))
    assert len(encode(data, size)) == size
    with pytest.raises(OverSizeError):
        encode(data, size - 1)


def test_a_small_value_that_would_be_written_out_endlessly_is_refused_quickly() -> None:
    data: list[Any] = []
    for _ in range(90):
        data = [data, data]
    start = time.process_time()
    with pytest.raises(OverSizeError):
        encode(data)
    assert time.process_time() - start < 5
