"""The end of a server that was asked to end."""

from __future__ import annotations

import signal
import time

from .serving import Place, code_of, eventually, is_alive, meanwhile


def test_what_runs_is_finished_and_new_work_is_refused(own: Place) -> None:
    server = own.start(DRAIN_TIMEOUT="30")
    with server.client() as client, server.client() as other:
        code = "import time; time.sleep(4); 'finished'"
        with meanwhile(lambda: other.run(code, "slow")) as run:
            eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
            server.signal(signal.SIGTERM)
            eventually(lambda: client.get("/ready").status_code == 503)
            assert client.get("/ready").json()["reasons"] == ["draining"]
            assert client.get("/health").status_code == 200
            refusal = client.execute("1")
            assert code_of(refusal) == (503, "draining")
            assert refusal.headers["retry-after"]
            streamed = client.post(
                "/execute", json={"code": "1"}, headers={"Accept": "text/event-stream"}
            )
            assert code_of(streamed) == (503, "draining")
            assert code_of(client.get("/api/tools")) == (503, "draining")
            assert code_of(client.put("/api/artifacts/a", content=b"x")) == (503, "draining")
            assert run.result()["value"] == "finished"
    assert server.process is not None
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log


def test_a_run_that_takes_longer_than_the_drain_is_interrupted_and_answered(own: Place) -> None:
    server = own.start(DRAIN_TIMEOUT="1")
    with (
        server.client() as client,
        server.client() as other,
        meanwhile(lambda: _status(other.execute("import time; time.sleep(50)", "slow"))) as run,
    ):
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
        family = server.processes()
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.process is not None
        assert server.process.wait(40) == 0
        assert time.monotonic() - begun < 30
        assert run.exception() is not None or run.result() in {200, 409, 500, 503}
    eventually(lambda: not any(map(is_alive, family)))


def test_asked_twice_it_ends_at_once(own: Place) -> None:
    server = own.start(DRAIN_TIMEOUT="300")
    with (
        server.client() as client,
        server.client() as other,
        meanwhile(lambda: _status(other.execute("import time; time.sleep(50)", "slow"))) as run,
    ):
        eventually(lambda: "pycodemode_requests_active 1.0" in client.get("/metrics").text)
        family = server.processes()
        server.signal(signal.SIGTERM)
        eventually(lambda: client.get("/ready").status_code == 503)
        server.signal(signal.SIGTERM)
        assert server.process is not None
        server.process.wait(30)
        run.exception()
    eventually(lambda: not any(map(is_alive, family)))


def _status(response: object) -> int:
    return int(getattr(response, "status_code", 0))
