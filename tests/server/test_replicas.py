"""Two replicas on one Redis: what one of them is asked reaches the session, wherever it is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from redis_server import RedisServer

from .serving import Client, Place, Server, code_of, eventually, meanwhile


@pytest.fixture
def one(replicas: tuple[Server, Server]) -> Iterator[Client]:
    with replicas[0].client() as client:
        yield client


@pytest.fixture
def two(replicas: tuple[Server, Server]) -> Iterator[Client]:
    with replicas[1].client() as client:
        yield client


def asked(client: Client, method: str, path: str, session: str) -> str:
    """Return the status that a call answers."""
    answer = client.request(method, path, headers={"X-Session-ID": session})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


def known(redis: RedisServer, session: str) -> None:
    """Wait until every replica can know of the session, whose first run may be under way."""
    eventually(lambda: redis.cli("EXISTS", f"agent:session:{session}") == b":1\r\n")


LONG = "x = 1\nimport time\ntime.sleep(50)"


@pytest.mark.parametrize("ran_before", [False, True])
def test_an_interrupt_reaches_the_run_on_another_replica(
    redis: RedisServer,
    replicas: tuple[Server, Server],
    one: Client,
    two: Client,
    session: str,
    ran_before: bool,
) -> None:
    if ran_before:
        one.run("y = 1", session)
    with replicas[0].client() as runner, meanwhile(lambda: runner.run(LONG, session)) as run:
        eventually(lambda: "pycodemode_requests_active 1.0" in one.get("/metrics").text)
        known(redis, session)
        assert asked(two, "POST", "/interrupt", session) == "interrupted"
        assert run.result()["error_type"] == "KeyboardInterrupt"
    assert one.value("x", session) == 1
    assert one.run("1", session)["state"]["lost"] is False


def test_where_nothing_runs_an_interrupt_says_so_and_stops_nothing_later(
    one: Client, two: Client, session: str
) -> None:
    one.run("x = 1", session)
    assert asked(two, "POST", "/interrupt", session) == "idle"
    assert asked(one, "POST", "/interrupt", session) == "idle"
    assert one.value("import time; time.sleep(1); x", session) == 1


def test_a_reset_reaches_the_variables_on_another_replica(
    one: Client, two: Client, session: str
) -> None:
    one.run("x = 1; open('f', 'w').close()", session)
    assert asked(two, "POST", "/reset", session) == "reset"
    answer = one.run("import os; 'x' in globals(), os.listdir()", session)
    assert answer["value"] == [False, []]
    assert (answer["state"]["generation"], answer["state"]["lost"]) == (1, False)


def test_a_reset_leaves_no_old_variables_anywhere(one: Client, two: Client, session: str) -> None:
    one.run("x = 1", session)
    two.run("x = 2", session)
    assert asked(one, "POST", "/reset", session) == "reset"
    for client in (one, two):
        assert client.value("'x' in globals()", session) is False
    time.sleep(0.5)  # less is not looked at
    assert one.run("x = 3", session)["state"]["lost"] is True
    time.sleep(0.5)
    assert two.run("x = 4", session)["state"]["lost"] is True
    assert asked(two, "POST", "/reset", session) == "reset"  # which had it last itself
    for client in (one, two):
        assert client.value("'x' in globals()", session) is False


def test_a_delete_ends_the_session_on_another_replica(
    one: Client, two: Client, session: str
) -> None:
    before = sessions(one)
    one.run("x = 1", session)
    assert sessions(one) == before + 1
    assert asked(two, "DELETE", "/session", session) == "deleted"
    assert sessions(one) == before
    for client in (one, two):
        for method, path in (("POST", "/interrupt"), ("DELETE", "/session")):
            refusal = client.request(method, path, headers={"X-Session-ID": session})
            assert code_of(refusal) == (404, "session_unknown")
    answer = one.run("'x' in globals()", session)
    assert (answer["value"], answer["state"]["generation"]) == (False, 1)
    assert answer["state"]["lost"] is False


@pytest.mark.parametrize("at", [0, 1])
def test_a_run_that_a_delete_ends_leaves_no_record(
    redis: RedisServer, replicas: tuple[Server, Server], session: str, at: int
) -> None:
    with (
        replicas[0].client() as runner,
        replicas[at].client() as client,
        meanwhile(lambda: runner.run(LONG, session)) as run,
    ):
        known(redis, session)
        assert asked(client, "DELETE", "/session", session) == "deleted"
        assert run.result()["error_type"] == "WorkerCrashed"
        time.sleep(1)
        refusal = client.post("/interrupt", headers={"X-Session-ID": session})
        assert code_of(refusal) == (404, "session_unknown")


def test_a_session_whose_replica_is_gone_can_be_reset_and_deleted(
    own: Place, redis: RedisServer, two: Client, session: str
) -> None:
    with own.start(REDIS_URL=redis.url).client() as client:
        client.run("x = 1", session)
    own.servers[0].kill()
    assert asked(two, "POST", "/interrupt", session) == "idle"
    assert asked(two, "DELETE", "/session", session) == "deleted"
    assert two.run("1", session)["state"]["lost"] is False


def sessions(client: Client) -> float:
    """Return how many sessions hold a process."""
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("pycodemode_sessions "))
