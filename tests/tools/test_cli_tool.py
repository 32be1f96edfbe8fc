"""A call becomes one program in the caller's jail, and its end a typed value or a clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from py_code_mode.errors import (
    InvalidArgumentError,
    ToolCallError,
    ToolError,
    ToolNotFoundError,
    ToolTimeoutError,
    WorkerStartError,
)
from py_code_mode.models import Program, ProgramEnd
from py_code_mode.tools.cli import CliTool
from py_code_mode.tools.loading import load_definition
from tools.jails import BareJail, RecordingJail, caller

ECHO = """\
name: say
description: Say something
command: echo
timeout: 20
schema:
  positional: [{name: words, type: array}]
  stdin: {name: text}
recipes:
  hello: {preset: {words: [hello]}}
"""
ECHO_PATH = shutil.which(
    "echo", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)


def tool(text: str = ECHO, variables: Mapping[str, str] | None = None, **extra: Any) -> CliTool:
    more = "".join(f"{key}: {value}\n" for key, value in extra.items())
    definition = load_definition(text + more, file="say.yaml")
    return CliTool(definition, variables=variables or {}, max_output_bytes=1000)


async def ended(end: ProgramEnd, **extra: Any) -> Any:
    return await tool(**extra).call(None, [], {}, caller(RecordingJail(end)))


async def failure(end: ProgramEnd, **extra: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await ended(end, **extra)
    return caught.value


async def test_the_program_gets_what_the_definition_says_and_no_more() -> None:
    jail = RecordingJail()
    assert await tool().call("hello", [], {"text": "in"}, caller(jail, lambda: 600)) == ""
    assert jail.programs == [
        Program(
            argv=(str(ECHO_PATH), "hello"),
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                "TZ": "UTC",
            },
            stdin=b"in",
            timeout_s=20,
            max_output_bytes=1000,
        )
    ]


async def test_network_ports_and_variables_are_passed_on() -> None:
    jail = RecordingJail()
    variables = {"TOOL_TOKEN": "secret", "TOOL_OTHER": "x"}
    env = '{AUTH: "Bearer ${TOOL_TOKEN}/${TOOL_TOKEN}", PLAIN: "$1 {x}"}'
    with_ports = tool(variables=variables, env=env, ports="[80]")
    await with_ports.call(None, [], {}, caller(jail))
    assert jail.programs[-1].env["AUTH"] == "Bearer secret/secret"
    assert jail.programs[-1].env["PLAIN"] == "$1 {x}"
    assert set(jail.programs[-1].env) == {"PATH", "LANG", "TZ", "AUTH", "PLAIN"}
    assert jail.programs[-1].ports == (80,)
    await tool(network="false").call(None, [], {}, caller(jail))
    assert jail.programs[-1].network is False


async def test_a_tools_time_is_cut_to_what_the_run_has_left() -> None:
    jail = RecordingJail()
    await tool().call(None, [], {}, caller(jail, lambda: 1.5))
    assert jail.programs[-1].timeout_s == 1.5
    with pytest.raises(ToolTimeoutError, match=r"^tools\.say was not started: the run has no time"):
        await tool().call(None, [], {}, caller(jail, lambda: 0))
    assert len(jail.programs) == 1


async def test_nothing_runs_for_arguments_that_do_not_fit() -> None:
    jail = RecordingJail()
    with pytest.raises(InvalidArgumentError):
        await tool().call(None, [], {"word": 1}, caller(jail))
    with pytest.raises(ToolNotFoundError) as caught:
        await tool().call("helo", [], {}, caller(jail))
    assert caught.value.message == "tools.say has no recipe 'helo'; did you mean 'hello'?"
    assert jail.programs == []


@pytest.mark.parametrize(
    ("output", "stdout", "value"),
    [
        ("text", b"a\nb\n", "a\nb\n"),
        ("text", b"caf\xe9 \xff", "caf\\xe9 \\xff"),
        ("bytes", b"\x00\xff", b"\x00\xff"),
        ("lines", b"a\r\n\nb\n", ["a", "", "b"]),
        ("lines", b"a\nb", ["a", "b"]),
        ("lines", b"", []),
        ("json", b' {"a": [1, "\\u00e9", 1.5, null]}\n', {"a": [1, "é", 1.5, None]}),
        ("json", b"[" * 90 + b"]" * 90, json.loads("[" * 90 + "]" * 90)),
    ],
)
async def test_the_value_has_the_type_that_the_definition_promises(
    output: str, stdout: bytes, value: Any
) -> None:
    assert await ended(ProgramEnd(0, stdout, b"warning"), output=output) == value


@pytest.mark.parametrize(
    ("stdout", "told"),
    [
        (b"", "(Expecting value: line 1 column 1 (char 0)), but nothing"),
        (b"1\n2\n", "(Extra data: line 2 column 1 (char 2)), but '1 2'"),
        (b"<html>\x1b[31m", "(Expecting value: line 1 column 1 (char 0)), but '<html>'"),
        (b"[" * 91 + b"]" * 91, f"(it nests more than 90 levels deep), but '{'[' * 91}{']' * 91}'"),
        (b"[" * 100_000, f"(it nests too deeply), but '{'[' * 199}\\u2026'"),
        (b'["\\ud800"]',
         "(a text in it has half of a surrogate pair), but '[\"\\\\ud800\"]'"),
    ],
)  # fmt: skip
async def test_what_is_not_json_is_told_with_its_beginning(stdout: bytes, told: str) -> None:
    error = await failure(ProgramEnd(0, stdout, b"why"), output="json")
    assert error.message == f"tools.say did not print one JSON value {told}"
    assert type(error) is ToolError
    assert (error.fields["exit_code"], error.fields["stderr"]) == (0, "why")


async def test_a_failed_program_says_how_and_why() -> None:
    error = await failure(ProgramEnd(6, b"part", b"one\ncurl: (6) \x1b[1mno host\xff\n\n"))
    assert isinstance(error, ToolCallError)
    assert error.message == "tools.say failed with exit code 6: curl: (6) no host\\xff"
    assert (error.exit_code, error.stdout) == (6, "part")
    assert error.stderr == "one\ncurl: (6) \x1b[1mno host\\xff\n\n"
    killed = await failure(ProgramEnd(-9, b"", b""))
    assert killed.message == "tools.say was ended by SIGKILL, and said nothing on stderr"
    assert await ended(ProgramEnd(6, b"fine", b""), ok_exit_codes="[0, 6]") == "fine"


async def test_an_error_carries_a_bounded_part_of_long_output() -> None:
    error = await failure(ProgramEnd(1, b"a" * 500_000 + b"z" * 500_000, b""))
    assert isinstance(error, ToolCallError)
    half = 32 * 1024
    cut = "\n… 934,464 bytes are left out here …\n"
    assert error.stdout == "a" * half + cut + "z" * half


async def test_a_program_that_ran_out_of_time_says_whose() -> None:
    late = ProgramEnd(-9, b"so far", b"", timed_out=True)
    with pytest.raises(ToolTimeoutError) as caught:
        await ended(late)
    assert caught.value.message == (
        "tools.say took longer than 20 s, its time limit; it and all that it started were ended. "
        "Ask it for less at a time"
    )
    assert caught.value.fields == {"stdout": "so far", "stderr": ""}
    with pytest.raises(ToolTimeoutError, match=r"took longer than 2\.5 s, what the run had left;"):
        await tool().call(None, [], {}, caller(RecordingJail(late), lambda: 2.5))


async def test_output_over_the_limit_is_an_error_and_not_a_shorter_value() -> None:
    error = await failure(ProgramEnd(-9, b"x" * 1000, b"", truncated=True))
    assert error.message == (
        "tools.say printed more than the 1,000 bytes that a program may, and was ended. Ask it for "
        "less (a filter, a limit, a quieter option); the error's stdout has a part of it"
    )
    assert error.fields["stdout"] == "x" * 1000


async def test_a_program_that_never_started_is_told_apart() -> None:
    error = await failure(ProgramEnd(None, b"", b"", reason="/bin/echo: Permission denied"))
    assert error.message == ("tools.say: echo could not be started: /bin/echo: Permission denied")
    with pytest.raises(ToolError, match="could not be started: no jail"):
        await tool().call(None, [], {}, caller(RecordingJail(WorkerStartError("no jail"))))


async def test_a_program_that_is_not_installed_is_named_until_it_is(tmp_path: Path) -> None:
    program = tmp_path / "prog"
    absent = tool(ECHO.replace("command: echo", f"command: {program}"))
    with pytest.raises(ToolError) as caught:
        await absent.call("hello", [], {}, caller(RecordingJail()))
    assert caught.value.message == (
        f"tools.say.hello cannot be called: the program '{program}' is not installed on this server"
    )
    program.write_text("#!/bin/sh\necho installed\n")
    program.chmod(0o755)
    assert await absent.call("hello", [], {}, caller(BareJail(tmp_path))) == "installed\n"


async def test_a_variable_that_is_not_set_is_named() -> None:
    wanting = tool(env='{A: "${TOOL_B}${TOOL_A}"}', variables={"TOOL_B": "x"})
    with pytest.raises(ToolError) as caught:
        await wanting.call(None, [], {}, caller(RecordingJail()))
    assert caught.value.message == ("tools.say cannot be called: the operator has not set TOOL_A")


async def test_a_real_program_gets_its_arguments_unchanged(tmp_path: Path) -> None:
    words = ["a b", "$(id)", "`id`", "; id", "*", "new\nline", "'\"", ""]
    said = await tool().call(None, [words], {}, caller(BareJail(tmp_path)))
    assert said == " ".join(words) + "\n"


def test_a_tool_says_how_it_is_called() -> None:
    described = tool().describe()
    assert (described["name"], described["description"]) == ("say", "Say something")
    assert [(each["name"], each["signature"]) for each in described["callables"]] == [
        ("", "(words: list[str] | None = None, text: str | bytes | None = None) -> str"),
        ("hello", "(text: str | bytes | None = None) -> str"),
    ]
    assert dict(tool().record) == {
        "name": "say",
        "description": "Say something",
        "tags": [],
        "callables": ["hello"],
    }
