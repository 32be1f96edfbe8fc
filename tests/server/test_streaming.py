"""Runs as server-sent events."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

from .raw import AUTHORIZED, connected, post
from .serving import Client, Json, Server, code_of, eventually, meanwhile

EVENTS = {"Accept": "text/event-stream"}


def events(client: Client, code: str, session: str | None = None, **body: object) -> list[Json]:
    """Run code and return its events, each with a name and one line of data."""
    headers = EVENTS if session is None else {**EVENTS, "X-Session-ID": session}
    with client.stream("POST", "/execute", json={"code": code, **body}, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(parsed(answer.iter_lines()))


def parsed(lines: Iterator[str]) -> Iterator[Json]:
    """Yield the events of a stream's lines."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield {"event": kind, "data": json.loads(line.removeprefix("data: "))}
        else:
            assert line == "" or line.startswith(":")


def test_events_come_as_things_happen_and_the_result_last(client: Client, session: str) -> None:
    code = """
import sys, time
print("one", flush=True)
print("two", file=sys.stderr, flush=True)
tools.echo.say(text="three")
try:
    tools.cat(file="/nothing")
except ToolCallError:
    pass
class Shown:
    def _repr_html_(self): return "<b>four</b>"
display(Shown())
5
"""
    found = events(client, code.replace("except ToolCallError", "except Exception"), session)
    kinds = [each["event"] for each in found]
    assert kinds[-1] == "result"
    assert {"stdout", "stderr", "tool_call", "display"} <= set(kinds[:-1])
    text = "".join(each["data"]["text"] for each in found if each["event"] == "stdout")
    assert text == "one\n"
    calls = [each["data"] for each in found if each["event"] == "tool_call"]
    assert [(call["name"], call["status"]) for call in calls] == [
        ("tools.echo.say", "ok"),
        ("tools.cat", "error"),
    ]
    assert all(call["ms"] > 0 for call in calls)
    (shown,) = [each["data"]["bundle"] for each in found if each["event"] == "display"]
    assert shown["text/html"] == "<b>four</b>"
    result = found[-1]["data"]
    assert (result["value"], result["stdout"], result["stderr"]) == (5, "one\n", "two\n")
    assert (result["session_id"], result["is_ok"]) == (session, True)
    assert set(result) == set(client.run("1"))


def test_events_are_there_before_the_run_has_ended(server: Server, client: Client) -> None:
    body = json.dumps({"code": "print('now', flush=True)\nimport time\ntime.sleep(20)"}).encode()
    with connected(server) as connection:
        connection.sendall(
            post("/execute", body, headers=AUTHORIZED + b"Accept: text/event-stream\r\n")
        )
        found = b""
        while b"now" not in found:
            piece = connection.recv(65536)
            assert piece, found
            found += piece
        assert b"event: stdout" in found
        assert b"event: result" not in found
    # The client is gone, so that its run is interrupted.
    eventually(lambda: "pycodemode_requests_active 0.0" in client.get("/metrics").text)


def test_what_is_refused_before_it_runs_is_the_problem_that_it_is_without_events(
    client: Client,
) -> None:
    body = {"code": "1", "timeout": 1_000}
    refusal = client.post("/execute", json=body, headers=EVENTS)
    assert code_of(refusal) == (422, "timeout_too_large")
    bad = client.post("/execute", content=b"{", headers=EVENTS)
    assert code_of(bad) == (400, "invalid_json")


def test_what_fails_while_it_waits_is_an_event(
    server: Server, client: Client, session: str
) -> None:
    with (
        server.client() as other,
        meanwhile(lambda: other.run("import time; time.sleep(40)", session)) as running,
    ):
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
        with server.client() as third, meanwhile(lambda: events(third, "1", session)) as waiting:
            eventually(lambda: "pycodemode_runs_waiting 1.0" in client.get("/metrics").text)
            time.sleep(0.5)
            client.delete("/session", headers={"X-Session-ID": session})
            (only,) = waiting.result()
        assert running.result()["error_type"] == "WorkerCrashed"
    assert (only["event"], only["data"]["code"]) == ("error", "session_closed")
    assert only["data"]["status"] == 409


def test_a_run_that_fails_has_a_result(client: Client) -> None:
    found = events(client, "print('a')\n1/0")
    assert [each["event"] for each in found] == ["stdout", "result"]
    assert found[-1]["data"]["error_type"] == "ZeroDivisionError"


def test_a_run_that_is_killed_has_a_result(client: Client) -> None:
    found = events(client, "import os; print('a', flush=True); os._exit(3)")
    assert found[-1]["event"] == "result"
    assert found[-1]["data"]["error_type"] == "WorkerCrashed"
    assert found[-1]["data"]["state"]["lost"]


def test_odd_text_stays_one_line_of_data(client: Client) -> None:
    text = "a\\nb\\r\\u2028\\ud800\\x00event: result\\n\\ndata: {}\\n"
    found = events(client, f"print('{text}', end='')")
    said = "".join(each["data"]["text"] for each in found if each["event"] == "stdout")
    assert re.sub(r"\W", "", said.replace("\\ud800", "")) == "abeventresultdata"
    assert found[-1]["event"] == "result"


def test_a_long_silence_has_comments(server: Server) -> None:
    body = json.dumps({"code": "import time; time.sleep(16)"}).encode()
    with connected(server) as connection:
        connection.sendall(
            post("/execute", body, headers=AUTHORIZED + b"Accept: text/event-stream\r\n")
        )
        found = b""
        while b"event: result" not in found:
            piece = connection.recv(65536)
            assert piece, found
            found += piece
    assert b": still running\n\n" in found


def test_the_stream_of_a_client_that_is_gone_ends_its_run_and_keeps_the_variables(
    server: Server, client: Client, session: str
) -> None:
    client.run("x = 1", session)
    head = AUTHORIZED + f"X-Session-ID: {session}\r\nAccept: text/event-stream\r\n".encode()
    body = json.dumps({"code": "x = 2\nwhile True: pass"}).encode()
    with connected(server) as connection:
        connection.sendall(post("/execute", body, headers=head))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
    answer = client.run("x", session)
    assert (answer["value"], answer["state"]["lost"]) == (2, False)
