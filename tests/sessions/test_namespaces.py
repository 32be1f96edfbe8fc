"""Skills run in the sandbox and call each other; artifacts keep their type."""

from __future__ import annotations

import pytest

from sessions.conftest import Run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def create(run: Run, name: str, source: str) -> None:
    await run.value(f"skills.create({name!r}, {source!r}, overwrite=True); None")


async def test_a_skill_is_invoked_in_each_documented_way(run: Run) -> None:
    await create(run, "twice", '"""Twice."""\ndef run(x: int) -> int:\n    return 2 * x')
    code = (
        "[skills.twice(x=1), skills.invoke('twice', x=2), await skills.twice.call_async(x=3),"
        " await skills.invoke_async('twice', x=4), await skills.invoke.call_async('twice', x=5)]"
    )
    assert await run.value(code) == [2, 4, 6, 8, 10]


async def test_skills_sync_and_async_call_each_other_and_artifacts(run: Run) -> None:
    await create(
        run,
        "inner",
        "import asyncio\nasync def run(x):\n    await asyncio.sleep(0)\n    return x + 1",
    )
    await create(
        run,
        "middle",
        "def run(x):\n    artifacts.save('seen', x)\n    return skills.inner(x=artifacts.load('seen'))",
    )
    await create(
        run,
        "outer",
        "async def run(x):\n    return skills.middle(x=x) + await skills.inner.call_async(x=x)",
    )
    assert await run.value("skills.outer(x=1)") == 4
    assert await run.value("await skills.outer.call_async(x=1)") == 4
    assert await run.value(
        "import threading\nout = []\nt = threading.Thread(target=lambda: out.append(skills.outer(x=2)))\n"
        "t.start(); t.join(); out"
    ) == [6]


async def test_async_calls_run_side_by_side(run: Run) -> None:
    await create(run, "waits", "import time\ndef run():\n    time.sleep(0.3)")
    code = (
        "import asyncio, time\nstart = time.monotonic()\n"
        "await asyncio.gather(*(skills.waits.call_async() for _ in range(5)))\ntime.monotonic() - start"
    )
    elapsed = await run.value(code)
    assert isinstance(elapsed, float)
    assert elapsed < 1.2


async def test_recursion_is_bounded_and_its_cycle_named(run: Run) -> None:
    await create(run, "ping", "def run(n=0):\n    return skills.pong(n=n + 1)")
    await create(run, "pong", "async def run(n=0):\n    return skills.ping(n=n)")
    result = await run(
        "try:\n    skills.ping()\nexcept SkillDepthError as e:\n    print(e.chain)\n    raise"
    )
    assert result.error_type == "SkillDepthError"
    assert "ping -> pong -> ping" in (result.error or "")
    assert "'ping', 'pong'" in result.stdout
    await create(run, "down", "def run(n):\n    return 0 if n == 0 else 1 + skills.down(n=n - 1)")
    assert await run.value("skills.down(n=10)") == 10


async def test_a_failing_skill_shows_its_own_lines(run: Run) -> None:
    await create(run, "fails", "def run():\n    raise KeyError('inside')")
    result = await run("skills.fails()")
    assert result.error_type == "KeyError"
    assert '"<skill fails v' in (result.error or "")
    assert "raise KeyError('inside')" in (result.error or "")


async def test_wrong_arguments_and_unknown_names_are_explained(run: Run) -> None:
    await create(run, "typed", "def run(*, count: int): return count")
    wrong = await run("skills.typed(cuont=1)")
    assert wrong.error_type == "InvalidArgumentError"
    assert "skills.typed(*, count: int)" in (wrong.error or "")
    unknown = await run("skills.tpyed(count=1)")
    assert unknown.error_type == "SkillNotFoundError"
    assert "typed" in (unknown.error or "")


async def test_records_are_read_only_and_become_json_objects(run: Run) -> None:
    await create(run, "listed", '"""Listed here."""\ndef run(a: str, b=1): ...')
    assert await run.value("r = skills.get('listed'); r.name == r['name'] == 'listed'") is True
    assert (await run("r.name = 'x'")).error_type == "TypeError"
    assert (await run("r['name'] = 'x'")).error_type == "TypeError"
    assert (await run("r.nothing")).error_type == "AttributeError"
    found = await run.value("skills.search('listed here', limit=1)[0]")
    assert isinstance(found, dict)
    assert (found["name"], found["origin"], found["description"]) == (
        "listed",
        "agent",
        "Listed here.",
    )
    assert found["score"] > 0


EQUAL = [
    "None", "True", "0", "-1.5", "'text é'", "b'\\x00\\xff'", "[1, [2.5, {'a': None}]]", "10**100", "{}",
    "-0.0", "''", "b''",
]  # fmt: skip


@pytest.mark.parametrize("value", EQUAL)
async def test_an_artifact_comes_back_equal_and_of_its_type(run: Run, value: str) -> None:
    code = f"v = {value}\nartifacts.save('a/v', v)\nw = artifacts.load('a/v')\n[v == w, type(v) is type(w), repr(v) == repr(w)]"
    assert await run.value(code) == [True, True, True]


REFUSED = [
    "{1}",
    "(1,)",
    "float('nan')",
    "{1: 2}",
    "object()",
    "[{'a': (1,)}]",
    "'\\ud800'",
    "range(3)",
]


@pytest.mark.parametrize("value", REFUSED)
async def test_what_would_come_back_different_is_refused(run: Run, value: str) -> None:
    result = await run(f"artifacts.save('refused', {value})")
    assert result.error_type == "ArtifactTypeError", result
    assert await run.value("artifacts.exists('refused')") is False


async def test_names_cannot_leave_the_root(run: Run) -> None:
    for name in ("../x", "/etc/x", "a/../../x", "", "a//b", "a\0b"):
        result = await run(f"artifacts.save({name!r}, 1)")
        assert result.error_type == "InvalidArtifactNameError", (name, result)


async def test_tables_and_pictures_keep_their_type(run: Run) -> None:
    code = """
import pandas as pd, numpy as np
from PIL import Image
df = pd.DataFrame({
    "i": [1, 2], "f": [0.1, np.inf], "s": ["x", ""], "b": [True, False],
    "t": pd.to_datetime(["2026-01-02 03:04:05.678", None]),
    "z": pd.to_datetime(["2026-01-02", "2026-01-03"]).tz_localize("Europe/Berlin"),
}, index=pd.Index(["p", "q"], name="key"))
artifacts.save("df", df)
pd.testing.assert_frame_equal(artifacts.load("df"), df)
image = Image.new("RGB", (3, 2), (1, 2, 3))
artifacts.save("img", image)
back = artifacts.load("img")
[artifacts.get("df").media_type, artifacts.get("img").media_type, back.tobytes() == image.tobytes()]
"""
    assert await run.value(code) == [
        "application/vnd.py-code-mode.dataframe+json",
        "image/png",
        True,
    ]
    refused = await run("artifacts.save('bad', pd.DataFrame({'x': [object()]}))")
    assert refused.error_type == "ArtifactTypeError"


async def test_twenty_megabytes_pass_through_the_wire(run: Run) -> None:
    code = (
        "data = bytes(20_000_000)\nartifacts.save('large', data)\nartifacts.load('large') == data"
    )
    assert await run.value(code) is True
    result = await run("artifacts.save('larger', bytes(64_000_001))")
    assert result.error_type == "ArtifactTooLargeError", result
    beyond = await run("artifacts.save('largest', bytes(100_000_000))")
    assert beyond.error_type in {"ValueError", "ArtifactTooLargeError"}, beyond
    assert await run.value("artifacts.exists('large')") is True


@pytest.mark.parametrize(
    "call",
    [
        "skills.named('x')",
        "skills.invoke('named', {'a': 1})",
        "await skills.named.call_async('x')",
        "await skills.invoke_async('named', 'x')",
    ],
)
async def test_arguments_without_names_are_refused_in_words(run: Run, call: str) -> None:
    await create(run, "named", "def run(a: int = 1):\n    return a")
    result = await run(call)
    assert result.error_type == "InvalidArgumentError"
    assert result.error is not None
    assert result.error.endswith("arguments by their names only, as name=value")


async def test_a_failing_async_skill_shows_the_call_and_its_own_lines(run: Run) -> None:
    await create(run, "fails_later", "async def run():\n    return 1 / 0")
    result = await run("async def f():\n    return skills.fails_later()\nawait f()")
    assert result.error is not None
    shown = [line.split('"')[1] for line in result.error.splitlines() if line.startswith("  File")]
    assert shown == ["<run 2>", "<run 2>", "<skill fails_later v1>"]


async def test_a_skill_may_have_classes_whose_annotations_are_text(run: Run) -> None:
    source = (
        "from __future__ import annotations\n"
        "import dataclasses, typing\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "    next: Point | None = None\n"
        "def run():\n"
        "    return [Point(1).x, sorted(typing.get_type_hints(Point))]"
    )
    await create(run, "annotated", source)
    assert await run.value("skills.annotated()") == [1, ["next", "x"]]


async def test_a_parameter_may_have_any_name(run: Run) -> None:
    await create(run, "odd", "def run(self, name, cls):\n    return [self, name, cls]")
    given = "self=1, name=2, cls=3"
    code = f"skills.odd({given}), await skills.odd.call_async({given})"
    assert await run.value(code) == [[1, 2, 3], [1, 2, 3]]
    code = f"skills.invoke('odd', {given}), await skills.invoke_async('odd', {given})"
    assert await run.value(code) == [[1, 2, 3], [1, 2, 3]]
