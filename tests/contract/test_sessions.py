"""What a session does, whether it is here or on a server: the same calls, values and errors."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

import pytest

from contract.open_sessions import AnySession, server, session, wheels
from py_code_mode import RunResult, SessionState
from py_code_mode.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ArtifactTypeError,
    CodeTooLargeError,
    DepInstallError,
    DepNotFoundError,
    InvalidArgumentError,
    InvalidArtifactNameError,
    InvalidDepError,
    InvalidSkillError,
    SessionBusyError,
    SessionClosedError,
    SkillExistsError,
    SkillNotFoundError,
    TimeoutTooLargeError,
)
from py_code_mode.models import ArtifactRecord, Blob, Event, SkillDetail, SkillRecord, ToolRecord

__all__ = ["server", "session", "wheels"]

pytestmark = pytest.mark.timeout(180)

SOURCE = '"""Doubles a number."""\n\n\ndef run(x: int, by: int = 2) -> int:\n    return by * x\n'


# Runs


async def test_a_run_gives_the_whole_result(session: AnySession) -> None:
    result = await session.run("import sys\nprint('out'); print('err', file=sys.stderr)\n6 * 7")
    assert result.execution_time_ms > 0
    assert result == RunResult(
        value=42,
        stdout="out\n",
        stderr="err\n",
        error=None,
        error_type=None,
        execution_time_ms=result.execution_time_ms,
        session_id=session.session_id,
        state=SessionState(generation=1),
    )
    assert result.is_ok


VALUES: list[tuple[str, Any]] = [
    ("None", None),
    ("[True, 1, 1.0, 'x', None]", [True, 1, 1.0, "x", None]),
    ("{'a': {'b': [(1, 2)]}, '': {}}", {"a": {"b": [[1, 2]]}, "": {}}),
    ("{5}", [5]),
    ("b'\\x00\\xff'", b"\x00\xff"),
    ("[b'', {'a': b'x'}]", [b"", {"a": b"x"}]),
    ("float('inf')", math.inf),
    ("[-float('inf'), -0.0]", [-math.inf, -0.0]),
    ("2 ** 4000", 2**4000),
    ("'é\\u2028\\x00\\U0001f600'", "é\u2028\x00\U0001f600"),
    ("{'$type': 'bytes', 'base64': 'eA=='}", {"$type": "bytes", "base64": "eA=="}),
    ("[{'$type': b'x'}]", [{"$type": b"x"}]),
    ("{1: 2}", "{1: 2}"),
    ("range(3)", "range(0, 3)"),
]


async def test_values_keep_their_types(session: AnySession) -> None:
    for code, expected in VALUES:
        result = await session.run(code)
        assert (result.value, result.error) == (expected, None), code
        assert _types(result.value) == _types(expected), code
    nan = (await session.run("float('nan')")).value
    assert isinstance(nan, float)
    assert math.isnan(nan)


async def test_failing_code_is_a_value_with_its_traceback(session: AnySession) -> None:
    result = await session.run("def f():\n    1/0\nf()")
    assert (result.value, result.error_type, result.is_ok) == (None, "ZeroDivisionError", False)
    assert result.error is not None
    assert result.error.splitlines()[0] == "Traceback (most recent call last):"
    assert 'File "<run 1>", line 3, in <module>' in result.error


async def test_variables_stay_and_generations_count(session: AnySession) -> None:
    states = [(await session.run(code)).state for code in ("x = 5", "1/0", "x")]
    assert [state.generation for state in states] == [1, 2, 3]
    assert (await session.run("x")).value == 5


async def test_a_run_over_its_time_ends_and_keeps_the_variables(session: AnySession) -> None:
    await session.run("x = 1")
    result = await session.run("while True: pass", timeout=0.3)
    assert (result.error_type, result.state.lost) == ("ExecutionTimeoutError", False)
    assert (await session.run("x", timeout=30)).value == 1


async def test_a_killed_worker_is_told_as_a_loss(session: AnySession) -> None:
    result = await session.run("import os\nos._exit(3)")
    assert (result.error_type, result.state.lost) == ("WorkerCrashed", True)
    assert (await session.run("1")).state == SessionState(generation=2)


async def test_displays_and_cuts_are_told(session: AnySession) -> None:
    shown = "class Shown:\n    def _repr_html_(self): return '<b>x</b>'\n"
    result = await session.run(f"{shown}display(Shown())\nprint('y' * 60_000)")
    assert [bundle.get("text/html") for bundle in result.displays] == ["<b>x</b>"]
    assert (result.truncated, len(result.stdout)) == (["stdout"], 50_000)


async def test_bytes_of_displays_are_bytes(session: AnySession) -> None:
    shown = "class Shown:\n    def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nrest'\n"
    result = await session.run(f"{shown}display(Shown())")
    assert [bundle.get("image/png") for bundle in result.displays] == [b"\x89PNG\r\n\x1a\nrest"]


async def test_a_stream_yields_what_happens_and_last_the_result(session: AnySession) -> None:
    code = "print('a')\ntools.echo.say(text='b')\ndisplay('c')\n[b'd']"
    events = [event async for event in session.stream(code, timeout=30)]
    assert [event.kind for event in events] == ["stdout", "tool_call", "display", "result"]
    assert events[0] == Event("stdout", {"text": "a\n"})
    assert {**events[1].data, "ms": 0} == {"name": "tools.echo.say", "status": "ok", "ms": 0}
    assert events[2].data["bundle"]["text/plain"] == "c"
    assert (events[3].data.value, events[3].data.stdout) == ([b"d"], "a\n")


async def test_events_come_while_the_code_runs(session: AnySession) -> None:
    async with asyncio.timeout(60):
        async for event in session.stream("print('now')\nwhile True: pass", timeout=90):
            if event.kind == "stdout":
                assert await session.interrupt()
            last = event
    assert (last.kind, last.data.error_type) == ("result", "KeyboardInterrupt")


async def test_whoever_stops_reading_a_stream_interrupts_the_run(session: AnySession) -> None:
    await session.run("x = 1")
    events = session.stream("print('on')\nwhile True: pass", timeout=90)
    assert (await anext(events)).kind == "stdout"
    await events.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        assert (await session.run("x")).value == 1


async def test_whoever_stops_waiting_for_a_run_interrupts_it(session: AnySession) -> None:
    await session.run("x = 1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await session.run("while True: pass", timeout=90)
    async with asyncio.timeout(30):
        assert (await session.run("x")).value == 1


async def test_interrupt_says_whether_something_ran(session: AnySession) -> None:
    assert await session.interrupt() is False
    await session.run("x = 1")
    assert await session.interrupt() is False
    run = asyncio.create_task(session.run("import time\ntime.sleep(90)", timeout=90))
    async with asyncio.timeout(30):
        while not await session.interrupt():
            await asyncio.sleep(0.05)
    assert (await run).error_type == "KeyboardInterrupt"
    assert (await session.run("x")).value == 1


async def test_reset_clears_the_variables_and_nothing_else(session: AnySession) -> None:
    await session.reset()
    await session.run("x = 1\nartifacts.save('kept', 2)")
    await session.reset()
    result = await session.run("'x' in globals()")
    assert (result.value, result.state) == (False, SessionState(generation=1))
    assert await session.load_artifact("kept") == 2


async def test_what_cannot_run_is_refused(session: AnySession) -> None:
    for code, timeout, refusal in (
        (5, None, InvalidArgumentError),
        ("'\ud800'", None, InvalidArgumentError),
        ("1", -1, InvalidArgumentError),
        ("1", math.nan, InvalidArgumentError),
        ("1", True, InvalidArgumentError),
        ("1", "1", InvalidArgumentError),
        ("1", 361, TimeoutTooLargeError),
        ("1" * 20_001, None, CodeTooLargeError),
    ):
        with pytest.raises(refusal) as caught:
            await session.run(code, timeout=timeout)  # type: ignore[arg-type]
        assert type(caught.value) is refusal
    with pytest.raises(CodeTooLargeError, match="20,001 bytes and 20,000 are allowed"):
        [event async for event in session.stream("1" * 20_001)]


async def test_a_session_with_its_queue_full_says_so(session: AnySession) -> None:
    await session.run("1")
    runs = [asyncio.create_task(session.run("import time\ntime.sleep(1)")) for _ in range(5)]
    done = await asyncio.gather(*runs, return_exceptions=True)
    busy = [each for each in done if isinstance(each, SessionBusyError)]
    assert len(busy) == 2
    assert all(isinstance(each, RunResult) for each in done if each not in busy)


async def test_a_closed_session_does_nothing(session: AnySession) -> None:
    async with session_like(session) as other:
        pass
    with pytest.raises(SessionClosedError, match="is not open; use `async with Session"):
        await other.run("1")
    with pytest.raises(SessionClosedError):
        await other.interrupt()
    assert "closed" in repr(other)


async def test_info_says_what_there_is(session: AnySession) -> None:
    await session.add_skill("double", SOURCE)
    info = await session.info()
    assert {"version", "tools", "skills", "packages", "sandbox", "limits"} <= info.keys()
    assert [tool["name"] for tool in info["tools"]] == ["cat", "echo"]
    assert [skill["name"] for skill in info["skills"]] == ["double"]
    assert info["packages"] == []
    assert set(info["sandbox"]) == {"tier", "landlock_abi", "seccomp", "own_uids"}
    assert info["limits"]["max_output_bytes"] == 50_000


# Tools


async def test_tools_are_listed_and_found(session: AnySession) -> None:
    tools = await session.list_tools()
    assert all(type(tool) is ToolRecord for tool in tools)
    assert [dict(tool) for tool in tools] == [
        {"name": "cat", "description": "Concatenate files", "tags": [], "callables": []},
        {
            "name": "echo",
            "description": "Print a text again",
            "tags": ["text"],
            "callables": ["say"],
        },
    ]
    found = await session.search_tools("print a text", limit=1)
    assert [tool.name for tool in found] == ["echo"]
    assert isinstance(found[0].score, float)
    assert found[0]["score"] == found[0].score
    for query, limit in ((5, 1), ("x", "1"), ("x", 0), ("x", True)):
        with pytest.raises(InvalidArgumentError):
            await session.search_tools(query, limit)  # type: ignore[arg-type]


# Skills


async def test_skills_are_saved_listed_found_and_removed(session: AnySession) -> None:
    assert await session.list_skills() == []
    made = await session.add_skill("double", SOURCE)
    expected = {
        "name": "double",
        "description": "Doubles a number.",
        "parameters": made.parameters,
        "version": 1,
        "author": "api",
        "origin": "api",
        "created_at": made.created_at,
    }
    assert dict(made) == expected
    assert [parameter["name"] for parameter in made.parameters] == ["x", "by"]
    assert [(type(skill), dict(skill)) for skill in await session.list_skills()] == [
        (SkillRecord, expected)
    ]
    again = await session.add_skill("double", SOURCE + "\n", "Twice.", overwrite=True)
    assert (again.version, again.description) == (2, "Twice.")
    found = await session.get_skill("double", version=1)
    assert type(found) is SkillDetail
    assert dict(found) == {**expected, "source": SOURCE}
    assert (await session.get_skill("double")).source == SOURCE + "\n"
    assert [skill.name for skill in await session.search_skills("twice")] == ["double"]
    assert (await session.run("skills.double(x=4)")).value == 8
    await session.remove_skill("double")
    assert await session.list_skills() == []


async def test_skills_refuse_what_is_wrong(session: AnySession) -> None:
    await session.add_skill("double", SOURCE)
    with pytest.raises(SkillExistsError) as exists:
        await session.add_skill("double", SOURCE)
    assert exists.value.name == "double"
    with pytest.raises(InvalidSkillError, match="line 2") as invalid:
        await session.add_skill("broken", "x = 1\ndef run(:\n")
    assert invalid.value.fields == {"line": 2}
    for name in ("no-name", "list", "search", "class", "", "a/b"):
        with pytest.raises(InvalidSkillError):
            await session.add_skill(name, SOURCE)
    with pytest.raises(SkillNotFoundError, match="there is no skill 'dubble'; close: 'double'"):
        await session.get_skill("dubble")
    with pytest.raises(SkillNotFoundError, match="has no version 7; kept: 1"):
        await session.get_skill("double", 7)
    for name in ("", ".", "..", "a/b", "search", "%2e", "a?b", "a#b", "é é", "x" * 300):
        with pytest.raises(SkillNotFoundError):
            await session.get_skill(name)
        with pytest.raises(SkillNotFoundError):
            await session.remove_skill(name)
    with pytest.raises(InvalidArgumentError):
        await session.get_skill(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        await session.add_skill("other", b"x")  # type: ignore[arg-type]


# Artifacts

DATA: list[Any] = [
    None,
    [1, 2.5, "x", {"a": [True]}],
    {"$type": "bytes", "base64": "x"},
    "text é\n\x00",
    b"\x00\xff",
    b"",
    Blob("image/png", b"\x89PNG"),
    2**200,
]
NAMES = [
    "a",
    "scans/2024/x.json",
    "naïve/日本語.txt",
    "a b",
    "100%",
    "a%2Fb",
    "a?b#c&d=e",
    ".x",
    "-",
]


async def test_artifacts_come_back_as_they_were_saved(session: AnySession) -> None:
    for data in DATA:
        saved = await session.save_artifact("value", data, "About it.", {"by": [1]})
        assert type(saved) is ArtifactRecord
        assert (saved.name, saved.description, saved.metadata) == (
            "value",
            "About it.",
            {"by": [1]},
        )
        found = await session.load_artifact("value")
        assert found == data
        assert _types(found) == _types(data)
    assert [record.name for record in await session.list_artifacts()] == ["value"]
    assert (await session.run("artifacts.load('value')")).value == 2**200


async def test_large_artifacts_go_and_come(session: AnySession) -> None:
    body = bytes(range(256)) * (14 * 4096)  # as base64 it is over what a body of JSON may have
    saved = await session.save_artifact("large", body, "Large & long.")
    assert (saved.size, saved.media_type, saved.description) == (
        len(body),
        "application/octet-stream",
        "Large & long.",
    )
    assert await session.load_artifact("large") == body
    await session.save_artifact("image", Blob("image/png", body))
    assert await session.load_artifact("image") == Blob("image/png", body)


async def test_artifact_names_are_the_same_on_both_sides(session: AnySession) -> None:
    for name in NAMES:
        await session.save_artifact(name, name)
        assert await session.load_artifact(name) == name
    assert {record.name for record in await session.list_artifacts()} == set(NAMES)
    for name in NAMES:
        await session.delete_artifact(name)
    wrong: list[Any] = ["", ".", "..", "a/../b", "/a", "a//b", "a\0b", "\ud800", 5]
    for name in wrong:
        for attempt in (session.load_artifact, session.delete_artifact):
            with pytest.raises((InvalidArtifactNameError, InvalidArgumentError)):
                await attempt(name)


async def test_artifacts_refuse_what_is_wrong(session: AnySession) -> None:
    with pytest.raises(ArtifactNotFoundError) as missing:
        await session.load_artifact("missing")
    assert (str(missing.value), missing.value.name) == (
        "there is no artifact 'missing'",
        "missing",
    )
    with pytest.raises(ArtifactNotFoundError):
        await session.delete_artifact("missing")
    for data in ((1, 2), {1}, math.nan, {1: 2}, object(), "\ud800", [b"x"], {"a": [math.inf]}):
        with pytest.raises(ArtifactTypeError):
            await session.save_artifact("wrong", data)
    with pytest.raises(ArtifactTypeError):
        await session.save_artifact("wrong", 1, metadata={"a": {1}})
    with pytest.raises(ArtifactError):
        await session.save_artifact("a/../b", 1)
    await session.save_artifact("a", 1)
    with pytest.raises(InvalidArtifactNameError, match="cannot be both an artifact and a folder"):
        await session.save_artifact("a/b", 1)


# Packages


async def test_packages_are_added_listed_synced_and_removed(session: AnySession) -> None:
    assert await session.list_deps() == []
    assert await session.add_dep("one") == ["one"]
    assert await session.add_dep("two==1.0") == ["one", "two==1.0"]
    assert await session.sync_deps() == ["one==1.0", "two==1.0"]
    assert (await session.run("import one\none.__version__")).value == "1.0"
    assert await session.remove_dep("one") == ["two==1.0"]
    assert await session.list_deps() == ["two==1.0"]


async def test_packages_refuse_what_is_wrong(session: AnySession) -> None:
    with pytest.raises(InvalidDepError):
        await session.add_dep("https://packages.invalid/one.whl")
    with pytest.raises(DepInstallError, match="three"):
        await session.add_dep("three")
    with pytest.raises(DepNotFoundError, match="'one' is not in the list"):
        await session.remove_dep("one")
    with pytest.raises(InvalidArgumentError):
        await session.add_dep(5)  # type: ignore[arg-type]


def session_like(session: AnySession) -> AnySession:
    """Return a session of the same kind that was not opened yet."""
    from py_code_mode import Session, SessionClient  # noqa: PLC0415
    from server.serving import TOKEN  # noqa: PLC0415

    if isinstance(session, Session):
        return Session(session.storage)
    url = re.search(r"http://\S+(?=,)", repr(session))
    assert url is not None
    return SessionClient(url[0], auth_token=TOKEN)


def _types(value: Any) -> Any:
    """Return the types of a value and of all that is in it."""
    if isinstance(value, list):
        return [list, *map(_types, value)]
    if isinstance(value, dict):
        return {name: _types(item) for name, item in value.items()}
    return type(value)
