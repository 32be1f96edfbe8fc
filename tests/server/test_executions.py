"""Runs with an id: never twice, whoever asks again, wherever, and whatever became of them."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import time
from collections.abc import Iterator

import pytest

from redis_server import RedisServer

from .raw import AUTHORIZED, connected, post
from .serving import Client, Place, Server, code_of, eventually, meanwhile, together

COUNT = (
    "artifacts.save('{name}', artifacts.load('{name}') + 1 if artifacts.exists('{name}') else 1)"
)


@pytest.fixture
def clients(replicas: tuple[Server, Server]) -> Iterator[tuple[Client, Client]]:
    with replicas[0].client() as one, replicas[1].client() as two:
        yield one, two


@pytest.fixture
def name() -> str:
    return f"count-{secrets.token_hex(6)}"


def abandon(server: Server, code: str, session: str, **body: object) -> None:
    """Begin a run, and go away once it runs."""
    head = AUTHORIZED + f"X-Session-ID: {session}\r\n".encode()
    request = post("/execute", json.dumps({"code": code, **body}).encode(), headers=head)
    with connected(server) as connection, server.client() as client:
        connection.sendall(request)
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
        time.sleep(0.3)


def test_a_client_that_is_gone_interrupts_its_run(
    server: Server, client: Client, session: str
) -> None:
    client.run("x = 1", session)
    abandon(server, "x = 2\nimport time\ntime.sleep(50)\nx = 3", session)
    eventually(lambda: "pycodemode_requests_active 0.0" in client.get("/metrics").text, 15)
    answer = client.run("x", session)
    assert (answer["value"], answer["state"]["lost"]) == (2, False)


def test_a_client_that_is_gone_while_it_waits_runs_nothing(
    server: Server, client: Client, session: str, name: str
) -> None:
    client.run("import time", session)
    with server.client() as other, meanwhile(lambda: other.run("time.sleep(4)", session)):
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
        head = AUTHORIZED + f"X-Session-ID: {session}\r\n".encode()
        code = COUNT.format(name=name)
        with connected(server) as connection:
            connection.sendall(post("/execute", json.dumps({"code": code}).encode(), headers=head))
            eventually(lambda: "pycodemode_runs_waiting 1.0" in client.get("/metrics").text)
        eventually(lambda: "pycodemode_runs_waiting 0.0" in client.get("/metrics").text, 3)
    assert code_of(client.get(f"/api/artifacts/{name}")) == (404, "artifact_not_found")


def test_with_an_id_the_run_goes_on_and_its_answer_waits(
    server: Server, client: Client, session: str, name: str
) -> None:
    code = f"import time; time.sleep(1.5); {COUNT.format(name=name)}; 'done'"
    abandon(server, code, session, execution_id="e1")
    answers = [client.run(code, session, execution_id="e1") for _ in range(3)]
    assert [answer["value"] for answer in answers] == ["done"] * 3
    assert answers[0] == answers[1] == answers[2]
    assert client.get(f"/api/artifacts/{name}").json() == 1


def test_the_same_id_with_other_code_is_refused(client: Client, session: str) -> None:
    assert client.run("1", session, execution_id="e1")["value"] == 1
    refusal = client.execute("2", session, execution_id="e1")
    assert code_of(refusal) == (409, "execution_id_reused")
    assert "'e1'" in refusal.json()["detail"]
    assert client.run("2", session + "x", execution_id="e1")["value"] == 2  # another session's


def test_an_id_of_a_run_that_never_began_may_be_used_again(
    server: Server, client: Client, session: str
) -> None:
    assert code_of(client.execute("1", session, execution_id="e1", timeout=9999))[0] == 422
    assert client.run("1", session, execution_id="e1")["value"] == 1


def test_a_run_that_failed_is_an_answer_too(client: Client, session: str) -> None:
    answers = [client.run("x = 1\n1/0", session, execution_id="f") for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["error_type"] == "ZeroDivisionError"
    assert answers[0]["state"]["generation"] == 1


def test_many_who_ask_at_once_get_the_one_answer(
    clients: tuple[Client, Client], session: str, name: str
) -> None:
    code = f"import time; time.sleep(1); {COUNT.format(name=name)}; 7"
    works = [lambda at=at: clients[at % 2].run(code, session, execution_id="m") for at in range(8)]
    answers = together(works)
    assert [answer["value"] for answer in answers] == [7] * 8
    assert all(answer == answers[0] for answer in answers)
    assert clients[0].get(f"/api/artifacts/{name}").json() == 1


def test_another_replica_gives_the_recorded_answer_and_refuses_other_code(
    clients: tuple[Client, Client], session: str
) -> None:
    one, two = clients
    answer = one.run("print('x'); [1, b'2']", session, execution_id="r")
    assert two.run("print('x'); [1, b'2']", session, execution_id="r") == answer
    assert code_of(two.execute("0", session, execution_id="r")) == (409, "execution_id_reused")


def test_an_answer_that_is_too_large_to_keep_says_what_is_missing(
    client: Client, session: str
) -> None:
    code = "for n in range(8): display('\\x00' * 500_000)\n5"
    first = client.run(code, session, execution_id="big")
    again = client.run(code, session, execution_id="big")
    assert again["state"] == first["state"]
    assert again["stdout"] == first["stdout"]
    assert (again["value"], again["displays"], again["truncated"]) == (5, [], ["displays"])


def test_an_answer_that_is_not_ascii_is_kept_whole(client: Client, session: str) -> None:
    code = "text = '\U0001f600' * 250_000\nprint(text[1:])\ntext[2:]"
    first = client.run(code, session, execution_id="wide")
    assert first["truncated"] == []
    assert client.run(code, session, execution_id="wide") == first


def test_the_largest_bytes_are_kept_whole(client: Client, session: str) -> None:
    show = "class Shown:\n    def _repr_png_(self): return data\ndisplay(Shown())"
    code = f"data = bytes(1_000_000)\n{show}\nprint('x' * 1_000_000)\ndata"
    first = client.run(code, session, execution_id="bytes")
    assert first["truncated"] == []
    assert client.run(code, session, execution_id="bytes") == first


def test_a_stream_with_an_id_goes_on_without_its_client(
    server: Server, client: Client, session: str
) -> None:
    code = "import time; time.sleep(1.5); 'streamed'"
    head = AUTHORIZED + f"X-Session-ID: {session}\r\nAccept: text/event-stream\r\n".encode()
    body = json.dumps({"code": code, "execution_id": "s"}).encode()
    with connected(server) as connection:
        connection.sendall(post("/execute", body, headers=head))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        time.sleep(0.3)
    answer = client.run(code, session, execution_id="s")
    assert (answer["value"], answer["state"]["generation"]) == ("streamed", 1)


@pytest.mark.timeout(120)
def test_nobody_knows_what_became_of_a_run_on_a_replica_that_was_killed(
    redis: RedisServer, clients: tuple[Client, Client], own: Place, session: str, name: str
) -> None:
    doomed = own.start(REDIS_URL=redis.url)
    code = f"{COUNT.format(name=name)}; import time; time.sleep(40)"
    with doomed.client() as client, meanwhile(lambda: _suppressed(client, code, session)):
        eventually(lambda: clients[0].get(f"/api/artifacts/{name}").status_code == 200)
        doomed.signal(signal.SIGKILL)
    answer = clients[0].execute(code, session, execution_id="lost")
    assert code_of(answer) == (409, "execution_outcome_unknown")
    assert (
        code_of(clients[1].execute(code, session, execution_id="lost"))[1] == answer.json()["code"]
    )
    assert clients[0].get(f"/api/artifacts/{name}").json() == 1  # never a second run
    assert clients[0].run("1", session, execution_id="next")["is_ok"]


def _suppressed(client: Client, code: str, session: str) -> None:
    with contextlib.suppress(Exception):
        client.run(code, session, execution_id="lost")
