"""Values come back as JSON types and bytes, and no value makes a run fail to answer."""

from __future__ import annotations

import math

import pytest

from sessions.conftest import LIMITS, Run

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECTED: dict[str, object] = {
    "None": None,
    "[True, 1, -2.5, 'é', b'\\x00\\xff']": [True, 1, -2.5, "é", b"\x00\xff"],
    "(1, (2,))": [1, [2]],
    "{3}": [3],
    "{'a': {'b': []}}": {"a": {"b": []}},
    "10**100": 10**100,
    "-10**100": -(10**100),
    "2**63, 2**64, -2**63, -2**63-1": [2**63, 2**64, -(2**63), -(2**63) - 1],
    "10**4299": 10**4299,
    "10**4300": "1" + "0" * 4300,
    "{1: 2}": "{1: 2}",
    "[{1: 2}]": "[{1: 2}]",
    "'\\ud800'": "\\ud800",
    "['ok', '\\udcff']": ["ok", "\\udcff"],
    "object": "<class 'object'>",
    "[1, object]": [1, "<class 'object'>"],
    "x = []; x.append(x); x": "[[...]]",
    "x = {}; x['x'] = x; x": "{'x': {...}}",
    "a = [1]; [a, a]": [[1], [1]],
    "import decimal; decimal.Decimal('1.5')": "Decimal('1.5')",
    "import enum; enum.IntEnum('E', 'A').A": "<E.A: 1>",
    "type('S', (str,), {})('x')": "'x'",
    "float('inf')": math.inf,
    "import numpy as np; [np.int64(3), np.float32(0.5), np.bool_(True), np.str_('s')]": [
        3,
        0.5,
        True,
        "s",
    ],
    "import numpy as np; np.arange(3)": "array([0, 1, 2])",
}


@pytest.mark.parametrize("code", EXPECTED)
async def test_a_value_comes_back_by_the_stated_rule(run: Run, code: str) -> None:
    assert await run.value(code) == EXPECTED[code]


async def test_nan_comes_back_as_nan(run: Run) -> None:
    value = await run.value("float('nan')")
    assert isinstance(value, float)
    assert math.isnan(value)


async def test_a_value_nested_over_a_hundred_levels_is_its_repr(run: Run) -> None:
    value = await run.value("x = 1\nfor _ in range(150): x = [x]\nx")
    assert value == "[" * 150 + "1" + "]" * 150
    deep = await run("x = 1\nfor _ in range(10**6): x = [x]\nx")
    assert deep.state.lost or deep.error is None or deep.error_type == "RecursionError"
    assert await run.value("1") == 1


ODD = {
    "a raising repr": "class X:\n    def __repr__(self): raise ValueError('no')\nX()",
    "a repr that exits": "class X:\n    def __repr__(self): raise SystemExit\nX()",
    "a repr that is no text": "class X:\n    def __repr__(self): return 1\nX()",
    "a metaclass that lies": (
        "class M(type):\n    def __getattribute__(s, n): raise KeyError(n)\n"
        "class X(metaclass=M): pass\nX()"
    ),
    "a hostile bundle": (
        "class X:\n    def _repr_mimebundle_(self): return {1: 2, 'text/html': 3, 'a/b': object()}\nX()"
    ),
    "a getattr that answers all": (
        "class X:\n    def __getattr__(self, n): return lambda *a, **k: {'x': self}\nX()"
    ),
    "an enormous integer": "1 << 10_000_000",
    "an exception with a raising str": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E()"
    ),
    "an exception with a strange name": "raise type('é\\n' * 500, (Exception,), {})()",
    "an exception group": "raise ExceptionGroup('many', [ValueError(i) for i in range(3)])",
    "a chain that bites its tail": (
        "a, b = ValueError('a'), ValueError('b')\na.__context__ = b\nb.__context__ = a\nraise a"
    ),
}


@pytest.mark.parametrize("code", ODD.values(), ids=ODD)
async def test_an_odd_value_is_answered_and_leaves_the_session_as_it_was(
    run: Run, code: str
) -> None:
    await run("kept = 1")
    result = await run(code)
    assert not result.state.lost, result
    assert await run.value("kept") == 1


@pytest.mark.parametrize(
    "code", ["'x' * 10**7", "b'x' * 10**7", "[1] * 10**6", "{'k': 'v' * 10**6}"]
)
async def test_a_large_value_is_cut_and_told(run: Run, code: str) -> None:
    result = await run(code)
    assert result.truncated == ["value"]
    assert isinstance(result.value, (str, bytes))
    assert len(result.value) == LIMITS.max_output_bytes


async def test_displays_are_mime_bundles(run: Run) -> None:
    result = await run(
        "class Card:\n    def _repr_html_(self): return '<b>hi</b>'\n    def __repr__(self): return 'Card'\n"
        "display(Card(), 'plain')\nCard()"
    )
    card = {"text/plain": "Card", "text/html": "<b>hi</b>"}
    assert result.displays == [card, {"text/plain": "plain"}, card]
    assert result.value == "Card"


async def test_an_object_in_the_place_of_a_shown_one_is_shown_too(run: Run) -> None:
    await run("class Card:\n    def _repr_html_(self): return '<b>hi</b>'")
    result = await run("for _ in range(20): display(Card())\nCard()")
    assert len(result.displays) == 21


async def test_a_value_that_was_displayed_is_not_shown_again(run: Run) -> None:
    await run("class Card:\n    def _repr_html_(self): return '<b>hi</b>'")
    result = await run("card = Card()\ndisplay(card)\ncard")
    assert len(result.displays) == 1


async def test_a_display_over_the_limit_leaves_its_plain_text(run: Run) -> None:
    result = await run(
        "class Big:\n    def _repr_html_(self): return 'x' * 10**6\n    def __repr__(self): return 'Big'\nBig()"
    )
    assert (result.displays, result.truncated) == ([{"text/plain": "Big"}], ["displays"])


async def test_many_small_displays_are_cut_and_the_session_goes_on(run: Run) -> None:
    result = await run("for number in range(3000): display(number)\n'done'")
    assert (result.value, result.truncated) == ("done", ["displays"])
    assert 100 < len(result.displays) <= LIMITS.max_output_bytes // 200
    assert (await run("for _ in range(3000): display('')\n1")).value == 1


@pytest.mark.parametrize(
    ("made", "conversion"),
    [
        ("numpy.float64(1.5)", "x.tolist()"),
        ("numpy.arange(2)", "x.tolist()"),
        ("datetime.date(2020, 1, 1)", "x.isoformat()"),
        ("(1, 2)", "list(x)"),
        ("{1}", "list(x)"),
        ("pathlib.Path('x')", "str(x)"),
        ("object()", "str(x)"),
    ],
)
async def test_what_cannot_be_saved_says_what_to_write(
    run: Run, made: str, conversion: str
) -> None:
    await run("import datetime, numpy, pathlib")
    result = await run(f"artifacts.save('values', {{'mean': {made}}})")
    assert result.error is not None
    assert "['mean'] is a " in result.error
    assert result.error.endswith(f"; convert it first, with {conversion}")
    saved = await run(f"x = {made}\nartifacts.save('values', {{'mean': {conversion}}})")
    assert saved.error is None, saved.error
