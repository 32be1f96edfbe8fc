"""A run's values as JSON and back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.json_values import from_json, to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$type"), inner),
    max_leaves=20,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


@given(VALUES)
def test_a_value_survives_json(value: object) -> None:
    text = json.dumps(to_json(value), allow_nan=False)
    assert same(from_json(json.loads(text)), value)


def test_the_forms_are_those_of_the_reference() -> None:
    assert to_json(b"a") == {"$type": "bytes", "base64": "YQ=="}
    assert to_json(math.nan) == {"$type": "float", "value": "nan"}
    assert to_json({"$type": 1}) == {"$type": "dict", "items": [["$type", 1]]}


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown \$type"):
        from_json({"$type": "pickle"})
