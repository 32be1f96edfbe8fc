"""The control socket between host and zygote: whole messages, some with a descriptor."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgpack

_MAX_MESSAGE: Final = 64 * 1024


class Control:
    """The host's end of a SOCK_SEQPACKET pair; sends wait in order where the socket is full."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_message: Callable[[dict[str, Any], list[int]], None],
        on_close: Callable[[], None],
    ) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._sock = sock
        self._on_message = on_message
        self._on_close = on_close
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)
        self._closed = False

    def send(self, message: dict[str, Any], *fds: int) -> None:
        """Send a message, with copies of ``fds``: the caller may close its own at once."""
        self._outbox.append((msgpack.packb(message), [os.dup(fd) for fd in fds]))
        self._flush()

    def close(self) -> None:
        """Close the socket, which tells the zygote to clean up and end."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        while self._outbox:
            self._drop_first()

    def _flush(self) -> None:
        while self._outbox:
            data, fds = self._outbox[0]
            try:
                socket.send_fds(self._sock, [data], fds)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._flush)
                return
            except ConnectionError:
                self._on_close()
                return
            self._drop_first()
        self._loop.remove_writer(self._sock)

    def _drop_first(self) -> None:
        for fd in self._outbox.popleft()[1]:
            os.close(fd)

    def _readable(self) -> None:
        while not self._closed:
            try:
                data, fds, _, _ = socket.recv_fds(self._sock, _MAX_MESSAGE, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                data, fds = b"", []
            if not data:
                self._on_close()
                return
            self._on_message(msgpack.unpackb(data), fds)
