"""The guest's side of the connection broker: asks the host to connect, takes the descriptor.

Imported only where the operator allows connections. The rules are the host's; this is convenience.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from py_code_mode_guest import interrupts
from py_code_mode_guest.channel import Channel

_TOKEN: Final = struct.Struct("<Q")
_FD: Final = struct.Struct("=i")
#: Room for one descriptor; ``socket.recv_fds`` forgets its flags before Python 3.12.
_RIGHTS: Final = socket.CMSG_LEN(_FD.size)
_RECEIVE: Final = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
_VERSIONS: Final[dict[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 6}
_MOST_NAMES: Final = 1024
_MAX_PORT: Final = 65535
#: For sockets without a timeout; the host has a limit of its own.
_FOREVER: Final = 3600.0

Address = tuple[Any, ...]


class Grants:
    """The guest's end of the second socket: descriptors by the token of whoever asked."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._wanted: dict[int, int | None] = {}
        self._tokens = itertools.count(1)
        self._has_reader = False

    @contextmanager
    def expected(self) -> Iterator[int]:
        """Yield a token; what came for it is closed in the end."""
        token = next(self._tokens)
        with interrupts.shield(), self._lock:
            self._wanted[token] = None
            self._start_reader()
        try:
            yield token
        finally:
            with interrupts.shield(), self._lock:
                fd = self._wanted.pop(token, None)
            if fd is not None:
                os.close(fd)

    def take(self, token: int) -> int:
        """Return the descriptor, which the host sent before it answered; it is closed later.

        Raises OSError.
        """
        with interrupts.shield(), self._lock:
            self._drain()
            fd = self._wanted[token]
        if fd is None:  # there were too many open files to receive it
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return fd

    def _drain(self) -> bool:
        """Take in all that is there; returns False once the host is gone."""
        while True:
            try:
                data, rights, _, _ = self._sock.recvmsg(_TOKEN.size, _RIGHTS, _RECEIVE)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            for _, _, sent in rights:
                self._keep(_TOKEN.unpack(data)[0], _FD.unpack(sent)[0])

    def _keep(self, token: int, fd: int) -> None:
        if token in self._wanted and self._wanted[token] is None:
            self._wanted[token] = fd
        else:
            os.close(fd)  # whoever asked was interrupted

    def _start_reader(self) -> None:
        """Read in a thread too: nobody else takes what is sent for those who were interrupted."""
        if self._has_reader:
            return
        with contextlib.suppress(RuntimeError):  # no thread to be had
            threading.Thread(target=self._read, name="egress", daemon=True).start()
            self._has_reader = True

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        alive = True
        while alive:
            poll.poll()
            with self._lock:
                alive = self._drain()


class Broker:
    """Asks the host, and knows of which name an address was."""

    def __init__(self, channel: Channel, grants: Grants) -> None:
        self._channel = channel
        self._grants = grants
        self._names: OrderedDict[tuple[str, int], str] = OrderedDict()

    def resolve(self, host: str, port: int, family: int) -> list[str]:
        """Return the addresses of a name, for connections to ``port`` (0: any). Raises OSError."""
        request = {"host": host, "port": port, "version": _VERSIONS.get(family, 0)}
        found: list[str] = _value(self._channel.call(_message("resolve", request)))["addresses"]
        for address in found:
            self._names[address, port] = host
            self._names.move_to_end((address, port))
        while len(self._names) > _MOST_NAMES:
            self._names.popitem(last=False)
        return found

    @contextmanager
    def granted(self, family: int, host: str, port: int, timeout_s: float | None) -> Iterator[int]:
        """Yield the descriptor of a connection, to be copied. Raises OSError."""
        with self._grants.expected() as token:
            request = self._request(family, host, port, timeout_s, token)
            _value(self._channel.call(request))
            yield self._grants.take(token)

    @asynccontextmanager
    async def granted_async(self, family: int, host: str, port: int) -> AsyncIterator[int]:
        """As ``granted``, without blocking the running event loop."""
        with self._grants.expected() as token:
            request = self._request(family, host, port, None, token)
            _value(await self._channel.call_async(request))
            yield self._grants.take(token)

    def _request(
        self, family: int, host: str, port: int, timeout_s: float | None, token: int
    ) -> dict[str, Any]:
        name = self._names.get((host, port)) or self._names.get((host, 0))
        fields = {
            "host": name or host,
            "address": host if name else "",
            "port": port,
            "version": _VERSIONS.get(family, 0),
            "timeout_s": float(timeout_s or _FOREVER),
            "token": token,
        }
        return _message("connect", fields)


def _message(operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"namespace": "egress", "operation": operation, "args": [], "kwargs": fields}


def _value(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what the host answered. Raises OSError, as the C library would."""
    if reply.get("error") is not None:
        raise PermissionError(errno.EPERM, reply["error"]["message"])
    value: dict[str, Any] = reply["value"]
    if "lookup" in value:
        raise socket.gaierror(value["lookup"], value["text"])
    if value.get("errno") == errno.ETIMEDOUT:
        raise TimeoutError(value["text"])  # as of a socket with a timeout
    if "errno" in value:
        raise OSError(value["errno"], value["text"])
    return value
