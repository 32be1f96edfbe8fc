"""A real session server for one group: its process on loopback, and clients that cost little."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

TOKEN: Final = "0123456789abcdef-benchmarks"
_START_TIMEOUT_S: Final = 30.0
_WRK = """
wrk.method, wrk.body = "POST", '{"code":"1+1"}'
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function request()
  return wrk.format(nil, "/execute", {
    ["X-Session-ID"] = "wrk-" .. number, ["Authorization"] = "Bearer %s"})
end
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs; ``ready_s`` is what it took from its start to ``/ready``."""

    port: int
    pid: int
    ready_s: float

    def connect(self) -> Client:
        """Return a client with a connection of its own."""
        return Client(self.port)


class Client:
    """One connection that is kept; requests and answers are bytes that are hardly looked at."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def health(self) -> float:
        """Ask for ``/health``; returns the seconds it took."""
        return self._timed(b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n")[0]

    def execute(self, code: str, session_id: str = "") -> tuple[float, dict[str, Any]]:
        """Run code; returns the seconds it took, and the answer."""
        body = json.dumps({"code": code}).encode()
        session = f"X-Session-ID: {session_id}\r\n" if session_id else ""
        head = (
            f"POST /execute HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"{session}Content-Length: {len(body)}\r\n\r\n"
        )
        seconds, answer = self._timed(head.encode() + body)
        return seconds, json.loads(answer)

    def request(self, method: str, path: str, body: Any = None) -> tuple[float, bytes]:
        """Send any request; returns the seconds it took, and the answer's body."""
        text = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        return self._timed(head.encode() + text)

    def _timed(self, request: bytes) -> tuple[float, bytes]:
        started = time.perf_counter()
        self._socket.sendall(request)
        received = self._socket.recv(65536)
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._socket.recv(65536)
        return time.perf_counter() - started, body


@contextmanager
def running(folder: str, settings: Mapping[str, str]) -> Iterator[Server]:
    """Start ``py-code-mode serve`` with these settings; it ends with the block."""
    port = _free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "CONTAINER_AUTH_TOKEN": TOKEN,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_LEVEL": "error",
        **settings,
    }
    command = [os.path.join(os.path.dirname(sys.executable), "py-code-mode"), "serve"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=folder)
    try:
        _wait_until_ready(port, process)
        yield Server(port, process.pid, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def requests_per_s(server: Server, folder: str, seconds: float) -> float | None:
    """Return what 8 clients on 8 sessions reach; None where there is no ``wrk`` to drive them."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return None
    script = os.path.join(folder, "execute.lua")
    with open(script, "w", encoding="utf-8") as file:
        file.write(_WRK % TOKEN)
    command = [wrk, "-t8", "-c8", f"-d{math.ceil(seconds)}s", "-s", script]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in said:
        raise RuntimeError(f"the server refused requests:\n{said}")
    return float(said.partition("Requests/sec:")[2].split()[0])


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError("the server ended before it was ready")
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/ready")
                if connection.getresponse().status == http.client.OK:
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise TimeoutError("the server was not ready in time")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
