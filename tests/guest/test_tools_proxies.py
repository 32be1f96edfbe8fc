"""The proxies of agent code against the real service, through real frames, without a process."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from py_code_mode.errors import (
    CodeModeError,
    InvalidArgumentError,
    ToolCallError,
    ToolNotFoundError,
)
from py_code_mode.models import ProgramEnd
from py_code_mode.services.dispatch import Dispatcher
from py_code_mode.services.tools import ToolsService
from py_code_mode.store.memory import MemoryTools
from py_code_mode.workers import frames, outgoing
from py_code_mode_guest.records import Record, ext_hook
from py_code_mode_guest.tools import Tool, Tools
from py_code_mode_guest.wire import HEADER, MAX_FRAME_BYTES, pack
from tools.jails import RecordingJail, caller

SAY = """\
name: say
description: Say words aloud
command: echo
tags: [voice]
schema:
  options:
    loud: {type: boolean, short: l, description: Louder}
    size: {type: integer, short: s}
    note: {type: array, short: n}
  positional: [{name: words, required: true, description: What is said}]
  stdin: {name: text}
recipes:
  whisper: {description: Say it in a low voice, params: {words: {}, text: {}}}
  hello: {preset: {words: hello}, params: {}}
"""
# A tool may be called like the operations behind the proxies.
CALL = "name: call\ndescription: Call somebody\ncommand: echo\nrecipes: {describe: {}}\n"


class Line:
    """A channel whose other end is a dispatcher; every message crosses as the frame it would be."""

    def __init__(self, door: Dispatcher, jail: RecordingJail) -> None:
        self.calls = 0
        self._door = door
        self._jail = jail

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        return asyncio.run(self.call_async(message))

    async def call_async(self, message: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        sent = pack({**message, "type": "call", "id": self.calls})[HEADER.size :]
        limits = frames.FrameLimits(said=MAX_FRAME_BYTES, structure=MAX_FRAME_BYTES)
        call = frames.read_frame(memoryview(sent), limits)
        assert isinstance(call, frames.Call)
        try:
            value = await self._door.call(
                call.namespace, call.operation, call.args, call.kwargs, caller=caller(self._jail)
            )
            reply = b"".join(outgoing.reply_frame(call.id, value))
        except CodeModeError as error:
            reply = outgoing.error_frame(call.id, error)
        answer: dict[str, Any] = msgpack.unpackb(reply[HEADER.size :], ext_hook=ext_hook)
        return answer


@pytest.fixture
def jail() -> RecordingJail:
    return RecordingJail(ProgramEnd(0, b"said\n", b""))


@pytest.fixture
def line(jail: RecordingJail) -> Line:
    store = MemoryTools()
    asyncio.run(store.add("say", SAY))
    asyncio.run(store.add("call", CALL))
    return Line(Dispatcher({"tools": ToolsService(store)}), jail)


@pytest.fixture
def tools(line: Line) -> Any:
    return Tools(line, "tools", line._door.describe()["tools"])  # type: ignore[arg-type]


def test_a_recipe_and_the_tool_itself_are_called(tools: Any, jail: RecordingJail) -> None:
    assert tools.say.whisper(words="psst") == "said\n"
    assert jail.argv == ["psst"]
    assert tools.say("hey", loud=True, size=2, note=("a", "b")) == "said\n"
    assert jail.argv == ["-l", "-s", "2", "-n", "a", "-n", "b", "hey"]
    tools.say.whisper("hey", "read this")
    assert (jail.argv, jail.programs[-1].stdin) == (["hey"], b"read this")


def test_a_tool_may_have_the_name_of_our_own_operations(tools: Any, jail: RecordingJail) -> None:
    assert tools.call() == "said\n"
    assert tools.call.describe() == "said\n"
    assert len(jail.programs) == 2


async def test_calls_overlap(tools: Any, jail: RecordingJail) -> None:
    said: Any = await asyncio.gather(
        tools.say.call_async(words="1"),
        tools.say.whisper.call_async("2"),
        tools.say.hello.call_async(),
    )
    assert said == ["said\n"] * 3
    assert [program.argv[1:] for program in jail.programs] == [("1",), ("2",), ("hello",)]


def test_a_name_costs_nothing_before_it_is_called(tools: Any, line: Line) -> None:
    missing = tools.no_such_tool.nothing
    assert isinstance(tools.say, Tool)
    assert not hasattr(missing, "_repr_html_")
    assert line.calls == 0
    with pytest.raises(ToolNotFoundError, match=r"^there is no tool 'no_such_tool'; there are: "):
        missing()


@pytest.mark.parametrize("large", ["ä" * 5_000_000, b"x" * 5_000_000])
def test_what_a_program_reads_may_be_large(
    tools: Any, jail: RecordingJail, large: str | bytes
) -> None:
    raw = large.encode() if isinstance(large, str) else large
    tools.say.whisper(words="w", text=large)
    tools.say.whisper("w", large)
    assert [program.argv[1:] for program in jail.programs] == [("w",), ("w",)]
    assert [program.stdin == raw for program in jail.programs] == [True, True]


def test_what_cannot_be_sent_is_refused_by_name(tools: Any, jail: RecordingJail) -> None:
    for kwargs, message in (
        ({"words": object()}, r"tools\.say: arguments\['words'\] is a object"),
        ({"words": "w", "note": [{1: 2}]}, r"tools\.say: arguments\['note'\]\[0\] has the key 1"),
        ({"words": "\ud800"}, r"tools\.say: arguments\['words'\] has a lone surrogate"),
        ({"words": "x" * 600_000}, r"tools\.say\(\) got 600,000 bytes for 'words'"),
        ({"words": "w", "size": 2**70_000}, r"is an integer of over 4300 digits"),
        ({"words": "w", "size": 2**5000}, r"needs a finite number of usual size for 'size'"),
        ({"words": "w", "loud": "yes"}, r"tools\.say\(\) needs bool for 'loud', not str"),
        ({"word": "w"}, r"has no parameter 'word'; did you mean 'words'\?"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            tools.say(**kwargs)
    with pytest.raises(InvalidArgumentError, match=r"args\[0\] is a set"):
        tools.say({1})
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(InvalidArgumentError, match="levels deep"):
        tools.say("w", note=deep)
    assert jail.programs == []


def test_unknown_tools_and_recipes_name_the_close_matches(tools: Any) -> None:
    for call in (tools.sya, tools.sya.signature, tools.sya.x.signature):
        with pytest.raises(ToolNotFoundError) as caught:
            call()
        assert caught.value.message == "there is no tool 'sya'; did you mean 'say'?"
    for call in (tools.say.wisper, tools.say.wisper.signature):
        with pytest.raises(ToolNotFoundError) as caught:
            call()
        assert caught.value.message == "tools.say has no recipe 'wisper'; did you mean 'whisper'?"
    assert repr(tools.sya) == "<tools.sya: there is no tool 'sya'; did you mean 'say'?>"


def test_a_failed_program_is_a_real_exception(tools: Any, jail: RecordingJail) -> None:
    jail.end = ProgramEnd(3, b"out", b"why")
    with pytest.raises(ToolCallError) as caught:
        tools.say("x")
    assert (caught.value.exit_code, caught.value.stdout, caught.value.stderr) == (3, "out", "why")


def test_help_has_signature_description_parameters_and_value(tools: Any) -> None:
    assert tools.say.whisper.signature() == (
        "tools.say.whisper(words: str, text: str | bytes | None = None) -> str"
    )
    assert (
        tools.say.whisper.__doc__
        == """\
tools.say.whisper(words: str, text: str | bytes | None = None) -> str

Say it in a low voice

Args:
    words: What is said
    text: Given to the program's standard input

Returns:
    str: what the program printed.

Raises:
    ToolCallError: the program failed; has exit_code, stdout and stderr.
    ToolTimeoutError: it took longer than 60 s."""
    )
    assert repr(tools.say.whisper) == f"<{tools.say.whisper.__doc__}>"
    whole = tools.say.__doc__
    assert whole.startswith("tools.say(words: str, text: str | bytes | None = None, *, loud: bool")
    assert whole.endswith("""
Recipes:
    tools.say.whisper(words: str, text: str | bytes | None = None) -> str
        Say it in a low voice
    tools.say.hello() -> str
        Say words aloud""")


def test_listings_are_records(tools: Any) -> None:
    listed = tools.list()
    assert [record.name for record in listed] == ["call", "say"]
    assert [record.name for record in tools.search("voice", limit=1)] == ["say"]
    below = tools.say.list()
    assert type(below[0]) is Record
    assert below == [
        {
            "name": "whisper",
            "signature": "(words: str, text: str | bytes | None = None) -> str",
            "description": "Say it in a low voice",
        },
        {"name": "hello", "signature": "() -> str", "description": "Say words aloud"},
    ]


def test_the_namespace_shows_how_it_is_used(tools: Any) -> None:
    assert dir(tools) == ["list", "search"]
    assert (
        repr(tools)
        == """\
<tools: tools.<name>(...), tools.<name>.<recipe>(...)
  tools.list() -> list[ToolRecord]
  tools.search(query: str, limit: int = 10) -> list[ToolRecord]
  tools.call: Call somebody
  tools.say: Say words aloud>"""
    )
    with pytest.raises(AttributeError, match="provided by the session"):
        tools.say = None
