"""``state.lost``: what is said of a session's variables is true, whatever became of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from py_code_mode.server.app import create_app
from py_code_mode.sessions import manager
from py_code_mode.settings import Settings
from redis_server import RedisSource

from .serving import TOKEN, Client, Json, Place, Server, eventually


def state(answer: Json) -> tuple[int, bool]:
    """Return generation and loss."""
    return answer["state"]["generation"], answer["state"]["lost"]


def test_a_restart_is_told_once(own: Place) -> None:
    with own.start().client() as client:
        assert state(client.run("x = 1", "known")) == (1, False)
        assert state(client.run("x", "known")) == (2, False)
        assert own.servers[0].stop() == 0
    with own.start().client() as client:
        answer = client.run("'x' in globals()", "known")
        assert (answer["value"], state(answer)) == (False, (3, True))
        assert state(client.run("1", "known")) == (4, False)
        assert state(client.run("1", "unknown")) == (1, False)


def test_a_server_that_was_killed_is_told_of_too(own: Place) -> None:
    server = own.start()
    with server.client() as client:
        client.run("x = 1", "known")  # its record is there before its answer
    server.kill()
    with own.start().client() as client:
        generation, lost = state(client.run("1", "known"))
        assert (lost, generation >= 2) == (True, True)


def test_a_worker_that_is_killed_while_it_runs_is_told_in_the_answer(
    client: Client, session: str
) -> None:
    client.run("x = 1", session)
    answer = client.run(
        "print('said', flush=True); import os, signal; os.kill(os.getpid(), 9)", session
    )
    assert (answer["error_type"], answer["stdout"]) == ("WorkerCrashed", "said\n")
    assert state(answer) == (2, True)
    again = client.run("'x' in globals()", session)
    assert (again["value"], state(again)) == (False, (3, False))


def test_a_worker_that_is_killed_between_runs_is_told_by_the_next(
    server: Server, client: Client, session: str
) -> None:
    before = set(server.processes())
    client.run("x = 1", session)
    pid = _worker(server, client, session)
    assert pid not in before or pid in server.processes()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid not in server.processes())
    answer = client.run("'x' in globals()", session)
    assert (answer["value"], state(answer)) == (False, (3, True))
    assert state(client.run("1", session)) == (4, False)


def _worker(server: Server, client: Client, session: str) -> int:
    """Return the pid of a session's worker, which gives itself a mark that others can see."""
    client.run("mark = bytearray(30_000_000)", session)
    sizes = {}
    for pid in server.processes()[1:]:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        sizes[pid] = int(fields["RssAnon"].split()[0]) if "RssAnon" in fields else 0
    return max(sizes, key=lambda pid: sizes[pid])


def test_an_idle_session_expires_and_is_told(own: Place) -> None:
    with own.start(SESSION_IDLE_TIMEOUT="1").client() as client:
        client.run("x = 1", "idle")
        assert "pycodemode_sessions 1.0" in client.get("/metrics").text
        eventually(lambda: "pycodemode_sessions 0.0" in client.get("/metrics").text)
        answer = client.run("'x' in globals()", "idle")
        assert (answer["value"], state(answer)) == (False, (2, True))


def test_another_replica_has_not_the_variables_and_says_so_both_ways(
    own: Place, redis_servers: RedisSource
) -> None:
    url = redis_servers.start().url
    one, two = own.start(REDIS_URL=url), own.start(REDIS_URL=url)
    with one.client() as first, two.client() as second:
        assert state(first.run("x = 1", "roaming")) == (1, False)
        answer = second.run("'x' in globals()", "roaming")
        assert (answer["value"], state(answer)) == (False, (2, True))
        assert state(second.run("y = 2", "roaming")) == (3, False)
        time.sleep(0.5)  # less is not looked at: it would be asked of every run of a busy session
        back = first.run("'y' in globals()", "roaming")
        assert (back["value"], back["state"]["lost"]) == (False, True)
        assert not first.run("1", "roaming")["state"]["lost"]


@pytest_asyncio.fixture
async def evicting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    """A server in this process, so that no minute must pass: with room for one session."""
    monkeypatch.setattr(manager, "_EVICTABLE_AFTER_S", 0.0)
    settings = Settings(
        tokens=(TOKEN,), storage_path=str(tmp_path / "s"), max_sessions=1, pool_size=1
    )
    app = create_app(settings)
    transport = httpx2.ASGITransport(app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client,
    ):
        yield client


async def test_an_evicted_session_is_told(evicting: httpx2.AsyncClient) -> None:
    async def run(code: str, session: str) -> Json:
        answer = await evicting.post(
            "/execute", json={"code": code}, headers={"X-Session-ID": session}
        )
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    await run("x = 1", "one")
    assert state(await run("x = 1", "two")) == (1, False)
    answer = await run("'x' in globals()", "one")
    assert (answer["value"], state(answer)) == (False, (2, True))
