"""Tools as agent code uses them: called, awaited, explained, watched, and ended in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from py_code_mode import Limits, MemoryStorage, RunResult, Session

pytestmark = pytest.mark.asyncio(loop_scope="module")

SH: Final = """
description: Run a shell script of the tests
command: /bin/sh
args: [-c]
schema:
  positional: [{name: script, type: string, required: true, description: What to run}]
"""
TOOLS: Final = {
    "sh": f"name: sh\ntimeout: 30\ntags: [test]\n{SH}",
    "brief": f"name: brief\ntimeout: 0.3\n{SH}",
    "data": f"name: data\noutput: json\nenv: {{KEY: '${{TOOL_KEY}}'}}\n{SH}",
    "count": """
name: count
description: Count the lines of a text
command: /usr/bin/wc
network: false
schema:
  options:
    lines: {type: boolean, short: l, description: Count lines}
    words: {type: boolean, short: w}
  stdin: {name: text, required: true, description: The text}
recipes:
  lines:
    description: How many lines there are
    preset: {lines: true}
    params: {text: {}}
""",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[Session]:
    storage = MemoryStorage()
    for name, text in TOOLS.items():
        await storage.tools.add(name, text)
    limits = Limits(interrupt_grace_s=1.0, max_output_bytes=100_000)
    variables = {"TOOL_KEY": "of the host", "OTHER": "never"}
    async with Session(storage, limits=limits, tool_variables=variables) as opened:
        yield opened


async def value(session: Session, code: str, timeout: float = 20) -> object:
    result = await session.run(code, timeout=timeout)
    assert result.error is None, result.error
    return result.value


async def test_a_tool_and_a_recipe_are_called(session: Session) -> None:
    assert await value(session, "tools.sh(script='echo $((6 * 7))')") == "42\n"
    assert await value(session, "tools.sh('echo by position')") == "by position\n"
    assert await value(session, "int(tools.count.lines(text='a\\nb\\n'))") == 2
    assert await value(session, "int(tools.count(words=True, text=b'a b c'))") == 3
    assert await value(session, "int(tools.count.lines(text='x\\n' * 2_000_000))") == 2_000_000


async def test_output_is_typed_and_the_environment_named(session: Session) -> None:
    script = """printf '{"key": "%s", "other": "%s"}' "$KEY" "$OTHER" """
    assert await value(session, f"tools.data(script={script!r})") == {
        "key": "of the host",
        "other": "",
    }


async def test_awaited_calls_run_side_by_side(session: Session) -> None:
    code = """
import asyncio
await asyncio.gather(*(tools.sh.call_async(script=f'sleep 0.3; echo {i}') for i in range(8)))
"""
    await value(session, "tools.sh('true')")
    started = time.monotonic()
    assert await value(session, code) == [f"{i}\n" for i in range(8)]
    assert time.monotonic() - started < 1.5


async def test_threads_call_side_by_side(session: Session) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    got = list(pool.map(lambda i: tools.sh(script=f'sleep 0.2; echo {i}'), range(4)))
got
"""
    started = time.monotonic()
    assert await value(session, code) == [f"{i}\n" for i in range(4)]
    assert time.monotonic() - started < 0.8


async def test_a_failure_is_an_exception_with_its_exit_code_and_output(session: Session) -> None:
    code = """
try:
    tools.sh(script='echo out; echo oh no >&2; exit 7')
except ToolCallError as error:
    got = [error.exit_code, error.stdout, error.stderr, str(error)]
got
"""
    assert await value(session, code) == [
        *(7, "out\n", "oh no\n"),
        "tools.sh failed with exit code 7: oh no",
    ]
    code = """
from py_code_mode.errors import ToolError, ToolTimeoutError
try:
    tools.brief(script='echo so far; exec sleep 30')
except ToolTimeoutError as error:
    got = [isinstance(error, ToolError), error.stdout, str(error)]
got
"""
    assert await value(session, code) == [
        *(True, "so far\n"),
        "tools.brief took longer than 0.3 s, its time limit; it and all that it started were "
        "ended. Ask it for less at a time",
    ]


@pytest.mark.parametrize(
    ("call", "error_type", "said"),
    [
        ("tools.shh(script='x')", "ToolNotFoundError", "did you mean 'sh'"),
        ("tools.count.line(text='')", "ToolNotFoundError", "did you mean 'lines'"),
        ("tools.sh(scrpt='x')", "InvalidArgumentError", "did you mean 'script'"),
        ("tools.sh()", "InvalidArgumentError", "needs 'script' (str), which is missing"),
        ("tools.sh(script=3)", "InvalidArgumentError", "needs str for 'script', not int"),
        ("tools.count.lines(text='', lines=False)", "InvalidArgumentError", "sets 'lines' itself"),
        ("tools.sh(script='yes')", "ToolError", "more than the 100,000 bytes"),
    ],
)
async def test_what_is_wrong_is_said_before_or_after(
    session: Session, call: str, error_type: str, said: str
) -> None:
    result = await session.run(call)
    assert (result.error_type, said in (result.error or "")) == (error_type, True), result.error
    assert await value(session, "tools.sh('echo next')") == "next\n"


async def test_a_tool_explains_itself(session: Session) -> None:
    assert await value(session, "tools.count.lines.signature()") == (
        "tools.count.lines(text: str | bytes) -> str"
    )
    shown = (await session.run("help(tools.count)\nprint(repr(tools.sh))\ntools")).stdout
    for words in (
        "tools.count(",
        "lines: bool = False",
        "Count lines",
        "How many lines",
        "What to run",
    ):
        assert words in shown
    listed = await value(session, "[(t.name, t.callables, t['tags']) for t in tools.list()]")
    assert isinstance(listed, list)
    assert ["count", ["lines"], []] in listed
    assert ["sh", [], ["test"]] in listed
    assert await value(session, "tools.search('lines of text')[0].name") == "count"
    assert await value(session, "[r.name for r in tools.count.list()]") == ["lines"]


async def test_calls_are_told_as_events(session: Session) -> None:
    code = (
        "tools.count.lines(text='')\nartifacts.list()\ntry: tools.sh(script='exit 3')\n"
        "except ToolCallError: print('caught')"
    )
    events = [event async for event in session.stream(code)]
    calls = [event.data for event in events if event.kind == "tool_call"]
    assert [(call["name"], call["status"]) for call in calls] == [
        ("tools.count.lines", "ok"),
        ("tools.sh", "error"),
    ]
    assert all(0 < call["ms"] < 5000 for call in calls)
    kinds = [event.kind for event in events]
    assert kinds.index("stdout") > kinds.index("tool_call")
    assert kinds[-1] == "result"


async def test_a_tool_has_the_time_that_its_run_has_left(session: Session) -> None:
    code = """
import time
kept, started = 'kept', time.monotonic()
try:
    tools.sh(script='exec sleep 30')
except BaseException as error:
    cause = [type(error).__name__, str(error)]
"""
    started = time.monotonic()
    result: RunResult = await session.run(code, timeout=1.0)
    assert time.monotonic() - started < 3
    assert not result.state.lost
    # Whichever comes first, the tool's end or the run's: it is a few milliseconds.
    cause = await value(session, "[kept, *cause]")
    assert isinstance(cause, list)
    assert cause[0] == "kept"
    assert cause[1] in {"ToolTimeoutError", "KeyboardInterrupt"}
    if cause[1] == "ToolTimeoutError":
        assert "what the run had left" in cause[2]


async def test_programs_and_code_share_the_folder(session: Session) -> None:
    code = """
open('from_code', 'w').write('by code')
got = tools.sh(script='cat from_code; echo -n "by a tool" > from_tool; pwd')
import os
[got == 'by code' + os.getcwd() + '\\n', open('from_tool').read()]
"""
    assert await value(session, code) == [True, "by a tool"]


async def test_a_tool_is_there_as_soon_as_the_store_has_it(session: Session) -> None:
    assert (await session.run("tools.late(script='true')")).error_type == "ToolNotFoundError"
    await session.storage.tools.add("late", f"name: late\n{SH}")
    assert await value(session, "tools.late(script='echo here')") == "here\n"
    await session.storage.tools.add("late", "name: late\ndescription: broken\ncommand: [1]\n")
    broken = await session.run("tools.late(script='true')")
    assert broken.error_type == "ToolError"
    assert "late.yaml" in (broken.error or "")
    assert await value(session, "tools.sh('echo others go on')") == "others go on\n"
    await session.storage.tools.remove("late")
    assert (await session.run("tools.late(script='true')")).error_type == "ToolNotFoundError"


async def test_a_skill_calls_tools(session: Session) -> None:
    source = "def run(n: int):\n    return int(tools.count.lines(text='x\\n' * n))"
    code = f"skills.create('lines_of', {source!r}, overwrite=True)\nskills.lines_of(n=5)"
    assert await value(session, code) == 5


async def test_after_a_reset_tools_start_anew(session: Session) -> None:
    await value(session, "tools.sh(script='echo x > left')")
    await session.reset()
    assert await value(session, "tools.sh(script='ls; echo ready')") == "ready\n"


_NAP = "name: nap\ndescription: Sleep\ncommand: /bin/sleep\nargs: ['30']\n"
_GIVE_UP = """
import asyncio, time
async def give_up():
    naps = (tools.nap.call_async() for _ in range(100))
    try:
        await asyncio.wait_for(asyncio.gather(*naps), 0.5)
    except TimeoutError:
        return "gave up"
"""


async def test_calls_that_were_given_up_keep_neither_the_run_nor_the_next_calls_waiting() -> None:
    """More of them than a guest may have under way, again and again: each is ended at the host."""
    store = MemoryStorage()
    await store.tools.add("nap", _NAP)
    await store.tools.add("say", "name: say\ndescription: Say\ncommand: /bin/echo\nargs: [said]\n")
    async with Session(store) as session:
        started = time.monotonic()
        run = await session.run(_GIVE_UP + "[await give_up() for _ in range(4)] + [tools.say()]")
        assert run.value == ["gave up"] * 4 + ["said\n"], run.error
        assert time.monotonic() - started < 15


async def test_a_call_that_waits_for_its_turn_can_be_interrupted() -> None:
    store = MemoryStorage()
    await store.tools.add("nap", _NAP)
    code = """
from concurrent.futures import ThreadPoolExecutor
x = 1
threads = ThreadPoolExecutor(40)
naps = [threads.submit(tools.nap) for _ in range(40)]
import time; time.sleep(0.3)
tools.nap()
"""
    async with Session(store) as session:
        run = await session.run(code, timeout=1.5)
        assert (run.error_type, run.state.lost) == ("ExecutionTimeoutError", False), run.error
        assert (await session.run("x", timeout=5)).value == 1
