"""What a session server answers, as the values, records and errors that a local session gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final, TypeVar

from py_code_mode import errors
from py_code_mode.errors import CodeModeError, InvalidArgumentError
from py_code_mode.json_values import from_json
from py_code_mode.models import Event, Record, RunResult, SessionState

R = TypeVar("R", bound=Record)

_CLASSES: Final[Mapping[str, type[CodeModeError]]] = {
    # A server checks a body's shape before any operation sees it.
    "invalid_json": InvalidArgumentError,
    "invalid_request": InvalidArgumentError,
    **{cls.code: cls for cls in (getattr(errors, name) for name in errors.__all__)},
}
#: Members of a problem that are no fields of an error, and names an exception has of its own.
_NO_FIELDS: Final = frozenset(
    {"type", "title", "status", "detail", "code", "message", "fields", *dir(Exception)}
)


def record(kind: type[R], found: Mapping[str, Any]) -> R:
    """Return a record; what a newer server says beyond its fields is left out."""
    return kind(**{name: found[name] for name in _names(kind) & found.keys()})


def records(kind: type[R], found: list[dict[str, Any]]) -> list[R]:
    """Return a listing's records."""
    return [record(kind, each) for each in found]


def result(found: Mapping[str, Any]) -> RunResult:
    """Return the RunResult that a server's answer stands for."""
    state = found["state"]
    return RunResult(
        value=from_json(found["value"]),
        stdout=found["stdout"],
        stderr=found["stderr"],
        error=found["error"],
        error_type=found["error_type"],
        execution_time_ms=found["execution_time_ms"],
        session_id=found["session_id"],
        state=SessionState(
            generation=state["generation"],
            lost=state["lost"],
            durable=state["durable"],
            not_restored=state["not_restored"],
        ),
        displays=from_json(found["displays"]),
        truncated=found["truncated"],
    )


def event(kind: str, data: Any) -> Event:
    """Return an event of a run; raises the error that an ``error`` event stands for."""
    if kind == "error":
        raise error(data)
    return Event(kind, result(data) if kind == "result" else from_json(data))


def error(problem: Mapping[str, Any]) -> CodeModeError:
    """Return the error of a problem document: of its code's class, with its fields.

    A code that this version does not know becomes a CodeModeError that keeps it as ``code``.
    """
    code, detail = str(problem["code"]), str(problem["detail"])
    found = {name: value for name, value in problem.items() if name not in _NO_FIELDS}
    if code in _CLASSES:
        return _CLASSES[code](detail, **found)
    return CodeModeError(detail, code=code, **found)


@cache
def _names(kind: type[Record]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))  # type: ignore[arg-type]  # dataclasses all
