"""The tables of the reference are those of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from py_code_mode.server.app import create_app
from py_code_mode.server.problems import STATUS, known_codes
from py_code_mode.settings import SECRET_VARIABLES, Settings

from .serving import TOKEN

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
HTTP = (REFERENCE / "http.md").read_text()

#: Codes that no problem has, and why.
NEVER_SENT = {
    "artifact_error": "a base class",
    "deps_error": "a base class",
    "error": "a base class",
    "session_error": "a base class",
    "skill_error": "a base class",
    "worker_error": "a base class",
    "configuration": "at the start alone",
    "server_error": "raised by clients",
    "server_unreachable": "raised by clients",
    "skill_depth": "raised in agent code",
    "tool_call": "raised in agent code",
    "tool_definition": "goes to the log; a tool_error tells of it",
    "tool_timeout": "raised in agent code",
    "worker_crashed": "the error_type of an answer",
}


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    part = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_error_that_can_reach_a_client_has_a_status() -> None:
    assert known_codes() - STATUS.keys() == NEVER_SENT.keys()


def test_the_table_of_errors_is_that_of_the_server() -> None:
    told = {code.strip("`"): int(status) for status, code, _ in rows(HTTP, "## Errors")}
    assert told == dict(STATUS)
    ordered = [(int(status), code) for status, code, _ in rows(HTTP, "## Errors")]
    assert ordered == sorted(ordered)


def test_the_table_of_settings_is_that_of_the_server() -> None:
    told = {name.strip("`"): default.strip("`") for name, default, _ in rows(HTTP, "## Settings")}
    known = {
        each.metadata["variable"]: _shown(each.default)
        for each in fields(Settings)
        if "variable" in each.metadata
    }
    assert told == known
    assert {"CONTAINER_AUTH_TOKEN", "REDIS_URL", "EMBEDDINGS_API_KEY"} <= SECRET_VARIABLES


def _shown(default: Any) -> str:
    """Return a default as an operator would write it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in ((), None) else str(default)


def test_the_table_of_routes_is_that_of_the_server() -> None:
    told = {call.strip("`") for call, *_ in rows(HTTP, "## Routes")}
    document = create_app(Settings(tokens=(TOKEN,), storage_path="/nonexistent")).openapi()
    known = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert told == known


def test_every_fault_has_a_test() -> None:
    text = (REFERENCE / "faults.md").read_text()
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in here] == []


def test_secrets_are_never_shown() -> None:
    settings = Settings(
        tokens=(TOKEN,), redis_url="redis://:s3cret@127.0.0.1", embeddings_api_key="s3cret"
    )
    assert "s3cret" not in repr(settings)
    assert TOKEN not in repr(settings)
