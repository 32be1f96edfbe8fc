"""The floor: what the kernel alone takes. Processes without the product, run as a script.

``bare.py echo FD SIZE`` answers every message on a socket with ``SIZE`` bytes;
``bare.py fork MODULE...`` imports the modules, then forks and waits once per byte on its input.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
import subprocess
import sys
import time
from types import TracebackType

_SECONDS = struct.Struct("d")


class Echo(asyncio.Protocol):
    """A process that echoes, asked through asyncio as a worker is. Use it with ``async with``."""

    def __init__(self, reply_size: int) -> None:
        self._reply_size = reply_size
        self._received = 0

    async def __aenter__(self) -> Echo:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            fd = theirs.fileno()
            self._process = _start("echo", str(fd), str(self._reply_size), pass_fds=(fd,))
        self._loop = asyncio.get_running_loop()
        await self._loop.create_connection(lambda: self, sock=ours)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._transport.abort()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn
        await asyncio.to_thread(self._process.wait)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received >= self._reply_size:
            self._received = 0
            self._answered.set_result(None)

    async def ask(self, message: bytes) -> None:
        """Send a message and wait for its echo."""
        self._answered = self._loop.create_future()
        self._transport.write(message)
        await self._answered


class Forks:
    """A process that forks and waits. Use it with ``with``."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._preload = preload

    def __enter__(self) -> Forks:
        self._process = _start(
            "fork", *self._preload, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def seconds(self) -> float:
        """Fork once and return how long that and waiting for the child's end took."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        os.write(pipes.stdin.fileno(), b".")
        (seconds,) = _SECONDS.unpack(os.read(pipes.stdout.fileno(), _SECONDS.size))
        return float(seconds)


def _start(
    *arguments: str,
    pass_fds: tuple[int, ...] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-B", os.path.abspath(__file__), *arguments],
        pass_fds=pass_fds,
        stdin=stdin,
        stdout=stdout,
    )


def _echo(fd: int, size: int) -> None:
    reply = bytes(size)
    with socket.socket(fileno=fd) as sock:
        while sock.recv(65536):
            sock.sendall(reply)


def _fork_on_demand(modules: list[str]) -> None:
    for name in modules:
        __import__(name)
    gc.collect()
    gc.freeze()
    while os.read(0, 1):
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        os.write(1, _SECONDS.pack(time.perf_counter() - start))


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        _echo(int(sys.argv[2]), int(sys.argv[3]))
    else:
        _fork_on_demand(sys.argv[2:])
