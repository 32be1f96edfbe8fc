"""What agent code on the server may connect to: nothing, or what EGRESS_ALLOW says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .serving import TOKEN, Client, Place, refused

FETCH = "import urllib.request; urllib.request.urlopen({url!r}, timeout=20).read()"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_agent_code_reaches_what_is_allowed_and_nothing_else(page: int, own: Place) -> None:
    server = own.start(EGRESS_ALLOW=f"127.0.0.1:{page}")
    with server.client() as client:
        named = {"X-Session-ID": "named", "X-Request-ID": "req-granted"}
        body = {"code": FETCH.format(url=f"http://127.0.0.1:{page}/"), "execution_id": "exec-1"}
        found = client.post("/execute", json=body, headers=named).json()["value"]
        refusal = client.execute(FETCH.format(url=f"{server.url}/health"))
        told, told_in = refusal.json(), refusal.headers["x-request-id"]
    assert found == {"$type": "bytes", "base64": "aGk="}
    assert "EGRESS_ALLOW" in told["error"]
    assert all(word in server.log for word in ("granted", "refused", str(page)))
    lines = [*server.log_lines("egress granted"), *server.log_lines("egress refused")]
    assert {(each["request_id"], each["execution_id"]) for each in lines} == {
        ("req-granted", "exec-1"),
        (told_in, None),
    }
    assert TOKEN not in server.log


def test_nothing_is_reached_without_it(page: int, client: Client) -> None:
    told = client.run(FETCH.format(url=f"http://127.0.0.1:{page}/"))
    assert told["is_ok"] is False
    assert "EGRESS_ALLOW" in told["error"]


def test_a_pattern_that_cannot_be_used_stops_the_start(own: Place) -> None:
    end = refused({"CONTAINER_AUTH_TOKEN": TOKEN, "STORAGE_PATH": str(own.folder),
                   "EGRESS_ALLOW": "example.org"})  # fmt: skip
    assert end.returncode == 2
    assert "egress pattern 'example.org'" in end.stderr
