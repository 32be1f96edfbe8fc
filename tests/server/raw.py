"""HTTP by hand: for requests that no decent client would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from .serving import TOKEN, Server

AUTHORIZED = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"


@contextlib.contextmanager
def connected(server: Server, timeout: float = 30.0) -> Iterator[socket.socket]:
    """A connection of one's own."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as connection:
        yield connection


def send(server: Server, data: bytes, timeout: float = 30.0) -> bytes:
    """Send bytes, and return all that comes until the server closes or the time is over."""
    with connected(server, timeout) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        return read(connection)


def read(connection: socket.socket, most: int = 1 << 20) -> bytes:
    """Return what comes until the other side closes or resets; at most so much."""
    found = b""
    with contextlib.suppress(OSError):
        while len(found) < most:
            piece = connection.recv(65536)
            if not piece:
                break
            found += piece
    return found


def read_head(connection: socket.socket) -> bytes:
    """Return an answer's status and headers, and what came with them."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            break
        found += piece
    return found


def status_of(answer: bytes) -> int:
    """Return an answer's status, 0 where there was none."""
    line = answer.partition(b"\r\n")[0].split(b" ")
    return int(line[1]) if line[0].startswith(b"HTTP/") and len(line) > 1 else 0


def post(path: str, body: bytes, *, headers: bytes = AUTHORIZED, size: int | None = None) -> bytes:
    """Return a request as bytes; ``size`` is what it claims to have."""
    length = len(body) if size is None else size
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n".encode()
    return head + headers + b"\r\n" + body
