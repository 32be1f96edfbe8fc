"""Servers on loopback that agent code connects to, plain and with TLS of a private CA."""

from __future__ import annotations

import http.server
import shutil
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from py_code_mode.workers.addresses import Address
from py_code_mode.workers.resolver import look_up
from redis_server import make_certificates


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self._answer(302, b"", self.path.removeprefix("/to/"))
        elif self.path == "/large":
            self._answer(200, b"x" * 5_000_000)
        else:
            self._answer(200, b"hello")

    def do_POST(self) -> None:
        self._answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: bytes, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200


@contextmanager
def _serving(host: str, context: ssl.SSLContext | None = None) -> Iterator[int]:
    with Server((host, 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Net:
    """What listens on loopback: plain and TLS, and one that is allowed to nobody."""

    plain: int
    tls: int
    forbidden: int
    ca: str

    def names(self, name: str) -> Sequence[Address]:
        """The host's own names, and two that lead to where nobody may go."""
        known = {"inside.test": "127.0.0.1", "metadata.test": "169.254.169.254"}
        return [ip_address(known[name])] if name in known else look_up(name)

    @property
    def patterns(self) -> list[str]:
        ports = (self.plain, self.tls)
        listed = [f"{host}:{port}" for port in ports for host in ("127.0.0.1", "localhost")]
        return [*listed, f"*.test:{self.forbidden}", "*.test:80"]


@contextmanager
def serve(folder: Path) -> Iterator[Net]:
    """Serve until the block ends; ``folder`` keeps the certificates."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    ca = make_certificates(folder).read_text()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with (
        _serving("127.0.0.1") as plain,
        _serving("127.0.0.1", context) as tls,
        _serving("127.0.0.1") as forbidden,
    ):
        yield Net(plain, tls, forbidden, ca)
