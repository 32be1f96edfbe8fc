"""A real Redis for one group: on a free port of loopback, with nothing kept on disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_START_TIMEOUT_S = 10.0


def program() -> str | None:
    """Return the path of the machine's server, or None where it has none."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@dataclass(frozen=True, slots=True)
class Redis:
    """A server that runs."""

    url: str
    pid: int

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Stop the process for the block: its connections stay, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@contextmanager
def running(program: str, folder: str) -> Iterator[Redis]:
    """Yield a server that ends with the block."""
    port = _free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield Redis(f"redis://127.0.0.1:{port}/0", server.pid)
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"PING\r\n")
            if client.recv(1) == b"+":
                return
        time.sleep(0.01)
    raise TimeoutError("redis-server did not start")
