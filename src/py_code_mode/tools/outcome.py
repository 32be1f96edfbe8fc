"""What the end of a program means to its caller: a typed value, or an error to act on."""

from __future__ import annotations

import json
import signal
from typing import Any, Final

from py_code_mode.errors import ToolCallError, ToolError, ToolTimeoutError
from py_code_mode.models import Program, ProgramEnd
from py_code_mode.text import has_surrogates, one_line
from py_code_mode.tools.definition import Output, ToolDefinition

#: What an error carries of each stream, in characters: its beginning and its end.
_KEPT: Final = 64 * 1024
_BEGINNING: Final = 200
#: Values nested deeper do not cross the wire.
_MAX_DEPTH: Final = 90


def value_of(end: ProgramEnd, program: Program, tool: ToolDefinition, path: str) -> Any:
    """Return what a program printed, as the tool's ``output`` says.

    Raises:
        ToolTimeoutError, ToolCallError, ToolError: with what the program printed until then.
    """
    if end.exit_code is None and end.reason:
        raise ToolError(f"{path}: {tool.command} could not be started: {one_line(end.reason)}")
    said = {"stdout": _bounded(end.stdout), "stderr": _bounded(end.stderr)}
    if end.timed_out:
        raise ToolTimeoutError(f"{path} {_lateness(program, tool)}", **said)
    if end.truncated:
        raise ToolError(
            f"{path} printed more than the {program.max_output_bytes:,} bytes that a program "
            "may, and was ended. Ask it for less (a filter, a limit, a quieter option); "
            "the error's stdout has a part of it",
            exit_code=end.exit_code,
            **said,
        )
    if end.exit_code not in tool.ok_exit_codes:
        raise ToolCallError(
            f"{path} {_failure(end.exit_code, end.stderr)}", exit_code=end.exit_code, **said
        )
    return _parsed(tool.output, end, path)


def _lateness(program: Program, tool: ToolDefinition) -> str:
    whose = "what the run had left" if program.timeout_s < tool.timeout_s else "its time limit"
    return (
        f"took longer than {round(program.timeout_s, 3):g} s, {whose}; it and all that it started "
        "were ended. Ask it for less at a time"
    )


def _failure(exit_code: int | None, stderr: bytes) -> str:
    """Return how a program failed, with the last line it said of it."""
    lines = [line for line in _text(stderr[-_KEPT:]).splitlines() if line.strip()]
    said = f": {one_line(lines[-1])}" if lines else ", and said nothing on stderr"
    if exit_code is not None and exit_code < 0:
        return f"was ended by {_signal_name(-exit_code)}{said}"
    return f"failed with exit code {exit_code}{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _parsed(output: Output, end: ProgramEnd, path: str) -> Any:
    if output == "bytes":
        return end.stdout
    text = _text(end.stdout)
    if output == "lines":
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        return lines[:-1] if not lines[-1] else lines
    return _json(text, end, path) if output == "json" else text


def _json(text: str, end: ProgramEnd, path: str) -> Any:
    try:
        value = json.loads(text)
        problem = _json_problem(value, text)
    except RecursionError:
        problem = "it nests too deeply"
    except ValueError as error:
        problem = str(error)
    if problem is None:
        return value
    raise ToolError(
        f"{path} did not print one JSON value ({one_line(problem)}), but {_beginning(text)}",
        exit_code=end.exit_code,
        stdout=_bounded(end.stdout),
        stderr=_bounded(end.stderr),
    )


def _json_problem(value: Any, text: str) -> str | None:
    """Return why a value that parses cannot cross the wire."""
    if "\\u" in text and has_surrogates(json.dumps(value, ensure_ascii=False)):
        return "a text in it has half of a surrogate pair"
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [item for outer in level for item in _inner(outer)]
        if not level:
            return None
    return f"it nests more than {_MAX_DEPTH} levels deep"


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _beginning(text: str) -> str:
    return f"{one_line(text, _BEGINNING)!a}" if text.strip() else "nothing"


def _bounded(data: bytes) -> str:
    if len(data) <= _KEPT:
        return _text(data)
    half = _KEPT // 2
    cut = f"\n… {len(data) - 2 * half:,} bytes are left out here …\n"
    return f"{_text(data[:half])}{cut}{_text(data[-half:])}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
