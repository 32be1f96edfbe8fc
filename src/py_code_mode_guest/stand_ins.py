"""Sockets for agent code, which the kernel lets make none: the host connects them.

A TCP socket starts as a stand-in, one end of a pair of Unix sockets, so that it has a descriptor.
``connect`` asks the host and puts what it grants in the stand-in's place, under the same number.
From then on it is a socket like any other, and TLS, buffers and polls know nothing of all this.
"""

from __future__ import annotations

# What the library's own class is made of, past what is replaced here.
import _socket
import contextlib
import errno
import os
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from py_code_mode_guest.channel import Channel
from py_code_mode_guest.egress import Broker, Grants
from py_code_mode_guest.lookups import Lookups, host_and_port
from py_code_mode_guest.refusals import ONLY_TCP

_INET: Final = (socket.AF_INET, socket.AF_INET6)
#: Flags that Linux lets stand in the type of a socket.
_FLAGS: Final = int(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
_init: Final = socket.socket.__init__
_loop_connect: Final = BaseSelectorEventLoop.sock_connect

#: Options that were set before the connection they are for.
_options: WeakKeyDictionary[socket.socket, list[tuple[Any, ...]]] = WeakKeyDictionary()


def install(channel: Channel, sock: socket.socket) -> None:
    """Let Python's sockets and event loops ask the host; ``sock`` is the second socket."""
    broker = Broker(channel, Grants(sock))
    methods: dict[str, Callable[..., Any]] = {
        "__init__": _make,
        "connect": lambda self, address: _connect(broker, self, address),
        "connect_ex": lambda self, address: _connect_ex(broker, self, address),
        "setsockopt": _setsockopt,
        "getpeername": _getpeername,
        "getsockname": _getsockname,
    }
    for name, method in methods.items():
        # Of the class itself: ssl.SSLSocket is a subclass of it already.
        setattr(socket.socket, name, method)
    lookups = Lookups(broker)
    for function in (lookups.getaddrinfo, lookups.gethostbyname, lookups.gethostbyname_ex):
        setattr(socket, function.__name__, function)

    async def sock_connect(loop: BaseSelectorEventLoop, sock: socket.socket, address: Any) -> None:
        if not _is_stand_in(sock):
            await _loop_connect(loop, sock, address)
            return
        async with broker.granted_async(sock.family, *host_and_port(address)) as fd:
            _replace(sock, fd)

    setattr(BaseSelectorEventLoop, sock_connect.__name__, sock_connect)


def _is_stand_in(sock: socket.socket) -> bool:
    """Say whether a socket waits for its connection.

    Nothing is noted in the object, since TLS and ``dup`` make others of the same descriptor.
    """
    if sock.family not in _INET:
        return False
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_UNIX


def _make(
    self: socket.socket,
    family: int = -1,
    type: int = -1,  # noqa: A002 - the standard library's name
    proto: int = -1,
    fileno: Any = None,
) -> None:
    if fileno is not None or family not in (-1, *_INET):
        _init(self, family, type, proto, fileno)
        return
    flags = 0 if type == -1 else type & _FLAGS
    if type not in (-1, socket.SOCK_STREAM | flags) or proto not in (-1, 0, socket.IPPROTO_TCP):
        raise PermissionError(errno.EPERM, ONLY_TCP)
    ours, other = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    other.close()
    family = socket.AF_INET if family == -1 else family
    _init(self, family, socket.SOCK_STREAM, max(proto, 0), ours.detach())
    if flags & socket.SOCK_NONBLOCK:
        self.setblocking(False)  # noqa: FBT003 - the standard library's signature


def _connect(broker: Broker, self: socket.socket, address: Any) -> None:
    """Connect and wait until it is done, which a socket that does not block may do as well."""
    if _is_stand_in(self):
        host, port = host_and_port(address)
        with broker.granted(self.family, host, port, self.gettimeout()) as fd:
            _replace(self, fd)
    elif self.family in _INET:
        raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
    else:
        _socket.socket.connect(self, address)


def _connect_ex(broker: Broker, self: socket.socket, address: Any) -> int:
    try:
        _connect(broker, self, address)
    except socket.gaierror:
        raise
    except TimeoutError:
        return errno.EAGAIN
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _replace(sock: socket.socket, fd: int) -> None:
    """Put a connection in a stand-in's place; its number and its timeout stay."""
    os.dup2(fd, sock.fileno(), inheritable=False)
    sock.settimeout(sock.gettimeout())
    for option in _options.pop(sock, ()):
        with contextlib.suppress(OSError):  # at best a hint by now
            _socket.socket.setsockopt(sock, *option)


def _setsockopt(self: socket.socket, *option: Any) -> None:
    if _is_stand_in(self):
        _options.setdefault(self, []).append(option)
    else:
        _socket.socket.setsockopt(self, *option)


def _getpeername(self: socket.socket) -> Any:
    if _is_stand_in(self):  # by this TLS finds out that the connection is still to come
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    return _socket.socket.getpeername(self)


def _getsockname(self: socket.socket) -> Any:
    if _is_stand_in(self):
        return ("0.0.0.0", 0) if self.family == socket.AF_INET else ("::", 0, 0, 0)  # noqa: S104
    return _socket.socket.getsockname(self)
