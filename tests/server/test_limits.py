"""What a client may not have, and that it is told so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .raw import AUTHORIZED, connected, post, read_head, status_of
from .serving import Client, Place, Server, code_of, eventually, meanwhile, place, together


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """A server with room for two sessions."""
    with place() as made:
        yield made.start(MAX_SESSIONS="2", MAX_QUEUE="0", MAX_EXECUTION_TIMEOUT="90")


def test_a_body_over_the_limit_is_413_whether_it_says_so_or_not(
    server: Server, client: Client
) -> None:
    body = b'{"code": "' + b"#" * 300_000 + b'"}'
    for path in ("/execute", "/api/skills", "/api/artifacts"):
        assert code_of(client.post(path, content=body)) == (413, "body_too_large")
        chunked = client.post(path, content=iter([body[:1000], body[1000:]]))
        assert code_of(chunked) == (413, "body_too_large"), path
    with connected(server) as connection:  # it is refused before it comes
        connection.sendall(post("/execute", b"", size=10**15))
        assert status_of(read_head(connection)) == 413
    assert client.value("1") == 1


def test_code_over_the_limit_is_413(client: Client) -> None:
    assert client.run("#" * 100_000)["is_ok"]
    assert code_of(client.execute("#" * 100_001)) == (413, "code_too_large")


def test_a_longer_time_than_allowed_is_refused_and_not_cut(client: Client) -> None:
    assert client.run("1", timeout=360)["is_ok"]
    refusal = client.execute("1", timeout=360.001)
    assert code_of(refusal) == (422, "timeout_too_large")
    assert "360" in refusal.json()["detail"]


def test_a_busy_session_has_a_queue_and_no_more(
    server: Server, client: Client, session: str
) -> None:
    """MAX_QUEUE is 2: one runs, two wait, the fourth is told."""
    client.run("x = []", session)
    with meanwhile(lambda: _runs(server, session, 3)) as runs:
        eventually(lambda: "pycodemode_runs_waiting 2.0" in client.get("/metrics").text)
        assert code_of(client.execute("1", session)) == (409, "session_busy")
        assert [answer["is_ok"] for answer in runs.result()] == [True] * 3
    assert client.value("x", session) == [1, 2] * 3  # one after the other, never two at once


def _runs(server: Server, session: str, number: int) -> list[dict[str, object]]:
    code = "import time; x.append(1); time.sleep(1.5); x.append(2)"
    with server.client() as client:
        return together([lambda: client.run(code, session)] * number)


def test_all_sessions_in_use_is_429_with_a_time_to_come_back(small: Server) -> None:
    with small.client() as client:
        for name in ("capacity-one", "capacity-two"):
            client.run("x = 1", name)
        refusal = client.execute("1", "capacity-three")
        assert code_of(refusal) == (429, "capacity")
        assert int(refusal.headers["retry-after"]) >= 1
        assert client.value("x", "capacity-one") == 1  # those that are there go on
        client.delete("/session", headers={"X-Session-ID": "capacity-one"})
        assert client.value("1", "capacity-three") == 1
        client.delete("/session", headers={"X-Session-ID": "capacity-two"})
        client.delete("/session", headers={"X-Session-ID": "capacity-three"})


def test_without_a_queue_a_second_run_is_refused_at_once(small: Server) -> None:
    with small.client() as client, small.client() as other:
        client.run("1", "no-queue")
        with meanwhile(lambda: other.run("import time; time.sleep(2)", "no-queue")) as run:
            eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
            assert code_of(client.execute("1", "no-queue")) == (409, "session_busy")
            assert run.result()["is_ok"]
        client.delete("/session", headers={"X-Session-ID": "no-queue"})


def test_waiting_does_not_count_as_running(client: Client, server: Server, session: str) -> None:
    client.run("import time", session)
    with server.client() as other, meanwhile(lambda: other.run("time.sleep(3)", session)) as first:
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
        assert client.run("time.sleep(0.1); 5", session, timeout=2.5)["value"] == 5
        assert first.result()["is_ok"]


def test_a_run_may_call_tools_so_often_and_the_next_run_as_often(own: Place) -> None:
    from .conftest import fill  # noqa: PLC0415 - beside its fixtures

    fill(own.folder / "store")
    server = own.start(MAX_TOOL_CALLS="3")
    with server.client() as client:
        code = "[tools.echo.say(text=str(n)).strip() for n in range({})]"
        assert client.value(code.format(3), "often") == ["0", "1", "2"]
        answer = client.run(code.format(4), "often")
        assert answer["error_type"] == "ToolError"
        assert "3 times" in answer["error"]
        assert client.value(code.format(3), "often") == ["0", "1", "2"]


def test_output_and_values_are_cut_visibly(client: Client) -> None:
    answer = client.run("print('x' * 3_000_000); 'y' * 3_000_000")
    assert answer["truncated"] == ["stdout", "value"]
    assert len(answer["stdout"]) <= 1_100_000
    assert len(str(answer["value"])) <= 1_100_000


def test_an_endless_header_is_refused_and_not_kept(server: Server, client: Client) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent = 0
        try:
            while sent < 50_000_000:
                sent += connection.send(b"x" * 65536)
        except OSError:
            pass
        assert sent < 10_000_000
    many = b"".join(b"X-%d: y\r\n" % n for n in range(8_000))
    with connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n" + many)
        assert status_of(read_head(connection)) == 431
    assert client.get("/health").status_code == 200


def test_large_headers_that_end_are_read(client: Client) -> None:
    assert client.get("/info", headers={"X-Large": "x" * 30_000}).status_code == 200


def test_a_request_to_become_something_else_is_answered_as_it_is(server: Server) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    with connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        assert status_of(read_head(connection)) == 200
    with connected(server) as connection:
        connection.sendall(post("/execute", b'{"code": "1"}', headers=AUTHORIZED + upgrade))
        assert status_of(read_head(connection)) in {200, 400}
    with connected(server) as connection:
        connection.sendall(post("/execute", b'{"code": "1"}', headers=upgrade))
        assert status_of(read_head(connection)) in {400, 401}
