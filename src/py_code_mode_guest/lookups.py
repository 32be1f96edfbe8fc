"""Names for agent code: the look-ups of ``socket``, which the host answers."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from py_code_mode_guest.egress import Broker
from py_code_mode_guest.refusals import ONLY_TCP

_SERVICES: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_MAX_PORT: Final = 65535

Info = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


def host_and_port(address: Any) -> tuple[str, int]:
    """Return both from what ``connect`` was given. Raises TypeError, OSError, OverflowError."""
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise TypeError("the address is a tuple of host and port")
    host, port = _text(address[0]), address[1]
    if not isinstance(port, int) or not 0 <= port <= _MAX_PORT:
        raise OverflowError("connect(): port must be 0-65535.")
    if port == 0:
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    if len(address) == 4 and address[3]:
        host = f"{host}%{address[3]}"
    return host or "0.0.0.0", int(port)  # noqa: S104 - what an empty host stands for


class Lookups:
    """Takes the place of functions of ``socket``, with their names, arguments and results."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the standard library's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[Info]:
        """Return how to connect to a host, by TCP."""
        if type not in (0, socket.SOCK_STREAM) or proto not in (0, socket.IPPROTO_TCP):
            raise PermissionError(errno.EPERM, ONLY_TCP)
        number = _port(port)
        found = self._addresses(_text(host), number, family, flags)
        name = _text(host) if flags & socket.AI_CANONNAME else ""
        infos = [_info(address, number, name) for address in found]
        fitting = [info for info in infos if family in (0, info[0])]
        if not fitting:
            raise _unknown()
        return fitting

    def gethostbyname(self, hostname: str | bytes) -> str:
        """Return the first IPv4 address of a host."""
        address: str = self.getaddrinfo(hostname, None, socket.AF_INET)[0][4][0]
        return address

    def gethostbyname_ex(self, hostname: str | bytes) -> tuple[str, list[str], list[str]]:
        """Return name, no other names, and the IPv4 addresses of a host."""
        found = self.getaddrinfo(hostname, None, socket.AF_INET)
        return _text(hostname), [], [info[4][0] for info in found]

    def _addresses(self, host: str, port: int, family: int, flags: int) -> list[str]:
        if not host:
            return ["127.0.0.1", "::1"]
        if any(_is_address(kind, host) for kind in (socket.AF_INET, socket.AF_INET6)):
            return [host]  # the host sees it when it is asked to connect
        if flags & socket.AI_NUMERICHOST:
            raise _unknown()
        return self._broker.resolve(host, port, family)


def _text(host: Any) -> str:
    if isinstance(host, (bytes, bytearray)):
        return host.decode("ascii")
    if host is None:
        return ""
    if not isinstance(host, str):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _port(port: Any) -> int:
    text = port.decode("ascii") if isinstance(port, bytes) else str(port or 0)
    number = _SERVICES.get(text, -1) if not text.isdecimal() else int(text)
    if not 0 <= number <= _MAX_PORT:
        raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype")
    return number


def _is_address(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def _info(address: str, port: int, name: str) -> Info:
    where = (socket.SOCK_STREAM, int(socket.IPPROTO_TCP), name)
    if ":" in address:
        return (socket.AF_INET6, *where, (address, port, 0, 0))
    return (socket.AF_INET, *where, (address, port))


def _unknown() -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")
