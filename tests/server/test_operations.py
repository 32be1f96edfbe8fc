"""What an operator sees: logs, audit lines, figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest

from .conftest import fill
from .serving import Client, Json, Place, Server, eventually, place, together


@pytest.fixture(scope="module")
def seen() -> Iterator[Server]:
    """A server whose figures nobody else changes."""
    with place() as made:
        fill(made.folder / "store")
        yield made.start()


@pytest.fixture
def operator(seen: Server) -> Iterator[Client]:
    with seen.client() as client:
        yield client


def figure(client: Client, name: str) -> float:
    """Return one figure, 0 where it was never counted."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_every_line_of_the_log_is_an_object(seen: Server, operator: Client) -> None:
    operator.run("print('\\n{not json')\n1/0", "logged")
    operator.post("/execute", content=b"{")
    operator.get("/nothing%0aforged%1b[31m")
    lines = [json.loads(line) for line in seen.log.splitlines()]
    assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
    assert all("\n" not in str(line.get("path", "")) for line in lines)


def test_a_run_is_logged_with_its_ids_and_not_its_code(seen: Server, operator: Client) -> None:
    operator.post(
        "/execute",
        json={"code": "'s3cret-code'", "execution_id": "exec-1"},
        headers={"X-Session-ID": "ids", "X-Request-ID": "req-1"},
    )
    (line,) = [each for each in seen.log_lines("run") if each["session_id"] == "ids"]
    assert (line["execution_id"], line["request_id"]) == ("exec-1", "req-1")
    assert (line["generation"], line["error_type"], line["lost"]) == (1, None, False)
    assert line["ms"] > 0
    (asked,) = eventually(
        lambda: [each for each in seen.log_lines("request") if each["request_id"] == "req-1"]
    )
    assert (asked["method"], asked["path"], asked["status"]) == ("POST", "/execute", 200)
    assert "s3cret-code" not in seen.log


def test_each_tool_call_has_an_audit_line_with_sizes_alone(seen: Server, operator: Client) -> None:
    code = """
tools.echo.say(text="s3cret-argument")
tools.cat(input="x" * 5000)
try: tools.cat(file="/nothing")
except Exception: pass
try: tools.echo.say(text=5)
except Exception: pass
"""
    assert operator.run(code, "audited")["is_ok"]
    lines = [each for each in seen.log_lines("tool call") if each["session_id"] == "audited"]
    assert [(line["tool"], line["status"], line["arguments"]) for line in lines] == [
        ("tools.echo.say", "ok", {"text": "str[15]"}),
        ("tools.cat", "ok", {"input": "str[5000]"}),
        ("tools.cat", "tool_call", {"file": "str[8]"}),
        ("tools.echo.say", "invalid_argument", {"text": "int"}),
    ]
    assert all(line["ms"] > 0 for line in lines)
    assert "s3cret-argument" not in seen.log


def test_audit_lines_name_the_request_and_the_execution_of_their_run(
    seen: Server, operator: Client
) -> None:
    def run(number: int, **body: str) -> Json:
        code = "import time; time.sleep(0.2); [tools.echo.say(text='x') for _ in range(2)]"
        answer = operator.post(
            "/execute",
            json={"code": code, **body},
            headers={"X-Session-ID": f"labels-{number}", "X-Request-ID": f"labels-req-{number}"},
        )
        found: Json = answer.json()
        return found

    together([partial(run, 1, execution_id="labels-exec"), partial(run, 2), partial(run, 3)])
    lines = [each for each in seen.log_lines("tool call") if "labels" in each["session_id"]]
    told = [(each["session_id"], each["request_id"], each["execution_id"]) for each in lines]
    assert sorted(told) == [
        *[("labels-1", "labels-req-1", "labels-exec")] * 2,
        *[("labels-2", "labels-req-2", None)] * 2,
        *[("labels-3", "labels-req-3", None)] * 2,
    ]


def test_values_are_audited_only_where_the_operator_says_so(own: Place) -> None:
    fill(own.folder / "store")
    server = own.start(AUDIT_ARGS="true")
    with server.client() as client:
        client.run("tools.echo.say(text='shown\\nforged')")
    (line,) = server.log_lines("tool call")
    assert line["arguments"] == {"text": "shown forged"}


def test_text_logs_are_for_people(own: Place) -> None:
    server = own.start(LOG_FORMAT="text", LOG_LEVEL="info")
    with server.client() as client:
        client.run("1", "people")
    assert "session_id=people" in server.log
    assert "\x1b" not in server.log


def test_runs_are_counted_by_how_they_ended(operator: Client) -> None:
    def outcomes() -> dict[str, float]:
        return {
            outcome: figure(operator, f'pycodemode_runs_total{{outcome="{outcome}"}}')
            for outcome in ("ok", "error", "timeout", "crash")
        }

    before, seconds = outcomes(), figure(operator, "pycodemode_run_seconds_count")
    operator.run("1")
    operator.run("1/0")
    operator.run("while True: pass", timeout=0.2)
    operator.run("import os; os._exit(1)")
    after = outcomes()
    assert {name: after[name] - before[name] for name in after} == {
        "ok": 1,
        "error": 1,
        "timeout": 1,
        "crash": 1,
    }
    assert figure(operator, "pycodemode_run_seconds_count") == seconds + 4
    assert figure(operator, 'pycodemode_worker_deaths_total{cause="exited"}') >= 1


def test_figures_tell_of_sessions_and_workers(operator: Client) -> None:
    before = figure(operator, "pycodemode_sessions")
    operator.run("1", "counted")
    assert figure(operator, "pycodemode_sessions") == before + 1
    assert figure(operator, "pycodemode_workers") >= before + 1
    eventually(lambda: figure(operator, "pycodemode_workers_ahead") >= 1)
    operator.delete("/session", headers={"X-Session-ID": "counted"})
    assert figure(operator, "pycodemode_sessions") == before
    eventually(lambda: figure(operator, 'pycodemode_worker_deaths_total{cause="closed"}') >= 1)


def test_requests_are_counted_by_status(operator: Client) -> None:
    def counted(status: int) -> float:
        return figure(operator, f'pycodemode_requests_total{{status="{status}"}}')

    before = counted(404), counted(400)
    operator.get("/nothing")
    operator.post("/execute", content=b"{")
    assert (counted(404), counted(400)) == (before[0] + 1, before[1] + 1)
    assert figure(operator, "pycodemode_requests_active") == 0
