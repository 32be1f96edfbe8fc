"""Faults of what the server stands on; docs/reference/faults.md says what a client sees of each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_server import RedisSource

from .conftest import fill_redis
from .serving import (
    Place,
    Server,
    code_of,
    eventually,
    health_s,
    is_alive,
    meanwhile,
    state_of,
    together,
)


def ready(server: Server) -> tuple[int, list[str]]:
    with server.client(token=None) as client:
        answer = client.get("/ready")
        return answer.status_code, answer.json()["reasons"]


def test_a_redis_that_hangs_blocks_nothing_but_what_needs_it(
    own: Place, redis_servers: RedisSource
) -> None:
    redis = redis_servers.start()
    fill_redis(redis)
    server = own.start(REDIS_URL=redis.url, STORE_TIMEOUT="2")
    with server.client() as client:
        client.run("x = 1", "known")
        redis.pause()
        try:
            with meanwhile(lambda: client.get("/api/artifacts")) as listing:
                took = [health_s(server) for _ in range(20)]
                assert sorted(took)[10] < 0.25, took
                assert code_of(listing.result()) == (503, "storage_unavailable")
            assert listing.result().headers["retry-after"]
            assert client.value("x", "known") == 1  # a live session needs no store to run
            unknown = client.execute("1", "never-seen")
            assert code_of(unknown) == (503, "storage_unavailable")
            assert client.run("2")["value"] == 2  # a new one has an id that nobody knows
            saved = client.run("artifacts.save('a', 1)", "known")
            assert saved["error_type"] == "StorageUnavailableError"
            eventually(lambda: ready(server) == (503, ["storage_unavailable"]))
        finally:
            redis.resume()
        eventually(lambda: ready(server) == (200, []))
        assert client.value("x", "known") == 1
        assert client.get("/api/artifacts").json() == []
        assert "pycodemode_store_errors_total 0.0" not in client.get("/metrics").text


def test_a_redis_that_dies_and_comes_back_heals_without_a_restart(
    own: Place, redis_servers: RedisSource
) -> None:
    redis = redis_servers.start()
    server = own.start(REDIS_URL=redis.url, STORE_TIMEOUT="2")
    with server.client() as client:
        client.run("x = 1", "known")
        redis.stop()
        refusal = client.get("/api/skills")
        assert code_of(refusal) == (503, "storage_unavailable")
        assert f"127.0.0.1:{redis.port}" in refusal.json()["detail"]
        assert client.value("x", "known") == 1
        once = client.execute("x", "known", execution_id="e")
        assert code_of(once) == (503, "storage_unavailable")  # it could not be remembered
        eventually(lambda: ready(server) == (503, ["storage_unavailable"]))
        redis.start()
        eventually(lambda: ready(server) == (200, []))
        assert client.run("x", "known", execution_id="e")["value"] == 1
        made = client.post("/api/artifacts", json={"name": "a", "data": 1})
        assert made.status_code == 201


def test_a_worker_that_is_killed_ends_its_session_alone(
    own: Place,
) -> None:
    server = own.start()
    with server.client() as client:
        client.run("x = 1", "bystander")
        answer = client.run("import os; os.kill(os.getpid(), 9)", "victim")
        assert (answer["error_type"], answer["state"]["lost"]) == ("WorkerCrashed", True)
        assert client.value("x", "bystander") == 1
        assert client.value("1", "victim") == 1
        for code in ("import sys; sys.exit()", "exit()", "raise SystemExit(3)", "quit(1)"):
            assert client.run(code, "exits")["error_type"] in {"SystemExit", "WorkerCrashed"}
        assert client.value("x", "bystander") == 1


def test_a_zygote_that_is_killed_is_replaced_and_sessions_are_told(own: Place) -> None:
    server = own.start()
    with server.client() as client:
        client.run("x = 1", "known")
        with meanwhile(lambda: _told(server)) as told:
            eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
            family = server.processes()
            zygote = _zygote(server)
            os.kill(zygote, signal.SIGKILL)
            answer = told.result()
        assert answer == ("WorkerCrashed", True)
        eventually(lambda: ready(server) == (200, []))  # though no request asked for a worker
        lost = client.run("'x' in globals()", "known")
        assert (lost["value"], lost["state"]["lost"]) == (False, True)
        assert client.value("1") == 1
        old = [pid for pid in family if pid != server.pid]
        eventually(lambda: not any(map(is_alive, old)))


def _told(server: Server) -> tuple[str, bool]:
    with server.client() as client:
        answer = client.run("import time; time.sleep(40)", "running")
        return answer["error_type"], answer["state"]["lost"]


def _zygote(server: Server) -> int:
    """Return the child of the server that has children."""
    for pid in server.processes()[1:]:
        tasks = Path(f"/proc/{pid}/task/{pid}/children")
        if tasks.exists() and tasks.read_text().split():
            return pid
    return server.processes()[1]


@contextlib.contextmanager
def _tiny_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("needs to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.root
def test_a_full_disk_is_507_and_passes(own: Place) -> None:
    with _tiny_disk(own.folder / "disk", "3m") as disk:
        server = own.start(STORAGE_PATH=str(disk / "store"))
        with server.client() as client:
            client.run("x = 1", "known")
            full = client.put("/api/artifacts/large", content=bytes(4_000_000))
            assert code_of(full) == (507, "storage_full")
            inside = client.run("artifacts.save('a', b'x' * 4_000_000)", "known")
            assert inside["error_type"] == "StorageFullError"
            (disk / "filler").write_bytes(bytes(2_900_000 - 200_000))
            with contextlib.suppress(OSError), (disk / "filler2").open("wb", 0) as filler:
                while filler.write(bytes(4096)):
                    pass
            assert client.value("x", "known") == 1  # what runs needs no disk of the store's
            body = {"name": "b", "data": "x" * 100_000}
            assert code_of(client.post("/api/artifacts", json=body)) == (507, "storage_full")
            assert client.get("/health").status_code == 200
            assert client.execute("1", "newcomer").status_code in {200, 503, 507}
            (disk / "filler").unlink()
            (disk / "filler2").unlink()
            assert client.post("/api/artifacts", json=body).status_code == 201
            eventually(lambda: ready(server) == (200, []))
            assert client.value("x", "known") == 1


def test_a_session_that_fills_its_folder_is_ended_alone(own: Place) -> None:
    server = own.start(SESSION_DISK_MB="4")
    with server.client() as client:
        client.run("x = 1", "bystander")
        code = "for n in range(100):\n  open(f'f{n}', 'wb').write(bytes(1_000_000))"
        answer = client.run(f"{code}\nimport time; time.sleep(20)", "full")
        assert answer["error_type"] in {"OSError", "WorkerCrashed"}
        assert client.value("x", "bystander") == 1


def test_a_store_that_cannot_be_read_any_more_is_told(own: Place) -> None:
    server = own.start()
    store = own.folder / "store"
    with server.client() as client:
        client.post("/api/artifacts", json={"name": "a", "data": 1})
        store.rename(own.folder / "gone")
        store.write_text("a file where the folder was")
        eventually(lambda: ready(server) == (503, ["storage_unavailable"]))
        assert code_of(client.get("/api/artifacts/a")) == (503, "storage_unavailable")
        assert client.value("1 + 1") == 2
        store.unlink()
        (own.folder / "gone").rename(store)
        eventually(lambda: ready(server) == (200, []))
        assert client.get("/api/artifacts/a").json() == 1


def test_a_server_that_is_killed_leaves_no_process(own: Place) -> None:
    server = own.start()
    with server.client() as client:
        client.run("import time; x = 1")
        with meanwhile(lambda: _ignored(server)):
            eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
            family = server.processes()
            server.signal(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, family[1:])))
    assert state_of(family[1]) in {"", "Z"}


def _ignored(server: Server) -> None:
    with contextlib.suppress(Exception), server.client() as client:
        client.run("while True: pass")


def test_skills_made_on_one_replica_are_there_on_the_other_at_once(
    own: Place, redis_servers: RedisSource
) -> None:
    url = redis_servers.start().url
    one, two = together([lambda: own.start(REDIS_URL=url), lambda: own.start(REDIS_URL=url)])
    with one.client() as first, two.client() as second:
        source = '"""Add."""\n\ndef run(a: int, b: int = 1) -> int:\n    return a + b\n'
        for number in range(5):
            made = first.post("/api/skills", json={"name": f"add{number}", "source": source})
            assert made.status_code == 201
            assert second.value(f"skills.add{number}(a=2)", "s") == 3
            second.post("/api/artifacts", json={"name": "n", "data": number})
            assert first.value("artifacts.load('n')", "s") == number
