"""The connection broker: connects for agent code, which cannot, and hands it the descriptor.

Agent code asks over the session's own socket, by calls of the namespace ``egress``. What was
granted goes to the worker through a second socket, which the host alone can write to. The host
looks names up itself and connects to the very address that it checked, so that an answer of the
DNS that changes in between is of no use.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from py_code_mode.workers import audit
from py_code_mode.workers.addresses import Address, parse_address
from py_code_mode.workers.egress import EgressPolicy, RefusedError, parse_host
from py_code_mode.workers.frames import ViolationError
from py_code_mode.workers.resolver import AT_ONCE_PER_SESSION, Resolver

log = logging.getLogger(__name__)

NAMESPACE: Final = "egress"
_LOOKUP_S: Final = 5.0
_CONNECT_S: Final = 30.0
#: How long a guest may leave what it was granted lying there.
_TAKE_S: Final = 5.0
#: The addresses of a name are asked for by a look-up and, right after it, by a connection.
_REMEMBERED_S: Final = 10.0
_MOST_NAMES: Final = 256
#: The kernel counts descriptors under way for all sessions together: a few are enough for each.
_SEND_BUFFER: Final = 4096
_TOKEN: Final = struct.Struct("<Q")
_MOST_TOKENS: Final = 1 << 62
_MAX_PORT: Final = 65535
_VERSIONS: Final = (0, 4, 6)

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What a guest asks for, of the right types and nothing more.

    ``address`` is the one it has looked up before, or empty; ``version`` is 4, 6 or 0 for either;
    ``timeout_s`` is at most the host's own; ``token`` marks the descriptor that is sent.
    """

    host: str
    port: int
    version: int
    address: str = ""
    timeout_s: float = _CONNECT_S
    token: int = 0


class Broker:
    """One worker's broker. Made with the worker; asked through the authority of its session."""

    def __init__(
        self,
        policy: EgressPolicy,
        resolver: Resolver,
        sock: socket.socket,
        *,
        places: asyncio.Semaphore,
        kill: Callable[[str], None],
    ) -> None:
        """``sock`` is the host's end of the second socket; it is closed with the broker.

        ``places`` bounds the connections that all sessions wait for.
        """
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        # Invariant: from here on the guest's end cannot send, neither bytes nor descriptors.
        sock.shutdown(socket.SHUT_RD)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._sock = sock
        self._policy = policy
        self._resolver = resolver
        self._places = places
        self._kill = kill
        self._lookups = asyncio.Semaphore(AT_ONCE_PER_SESSION)
        self._names: OrderedDict[str, tuple[float, Sequence[Address]]] = OrderedDict()
        self._pace = {name: _Pace(policy) for name in ("connect", "resolve")}
        self._sending = asyncio.Lock()

    async def call(
        self, session_id: str, operation: str, args: list[Any], kwargs: dict[str, Any]
    ) -> Answer:
        """Answer a guest's call; one that no guest of ours makes is its last.

        A ``connect`` is answered with ``{}``, when the descriptor is on its way; a ``resolve`` with
        ``{"addresses": [text]}``. What went wrong is ``{"errno" | "lookup": number, "text"}``.
        """
        try:
            request = _request(operation, args, kwargs)
        except ViolationError as violation:
            log.warning("session %s asked for a connection with %s: killed", session_id, violation)
            self._kill("violation")
            return _failure(errno.EPERM)
        try:
            async with asyncio.timeout(min(request.timeout_s, _CONNECT_S)):
                await self._pace[operation].turn()
                return await self._do(operation, request, _Story(session_id, request))
        except TimeoutError:
            return _failure(errno.ETIMEDOUT, "timed out")
        except socket.gaierror as error:
            return {"lookup": error.errno, "text": error.strerror}
        except OSError as error:
            return _failure(error.errno or errno.EIO)

    def close(self) -> None:
        """Close the second socket."""
        self._sock.close()

    async def _do(self, operation: str, request: Request, story: _Story) -> Answer:
        try:
            addresses = await self._permitted(request)
        except RefusedError as refusal:
            story.tell("refused", str(refusal))
            return _failure(errno.EPERM, str(refusal))
        if operation == "resolve":
            return {"addresses": [str(address) for address in addresses]}
        wanted = [address for address in addresses if str(address) == request.address]
        address = (wanted or addresses)[0]
        story.tell("granted", address=address)
        async with self._places:
            await self._connect(address, request)
        return {}

    async def _connect(self, address: Address, request: Request) -> None:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, (str(address), request.port))
            await self._send(request.token, connection.fileno())

    async def _permitted(self, request: Request) -> list[Address]:
        """Return the addresses that the session may connect to, at least one.

        Raises RefusedError; ``socket.gaierror`` where the name is allowed and has none.
        """
        listed = parse_address(request.address)
        if listed is not None and self._policy.lists(listed, request.port):
            return [listed]
        try:
            host = parse_host(request.host)
        except ValueError as error:
            raise RefusedError(f"this session may not connect: {error}") from None
        self._policy.check_host(host, request.port)
        if not isinstance(host, str):
            return self._policy.permitted(str(host), [host], request.port)
        found = await self._addresses(host)
        fitting = [a for a in found if request.version in (0, a.version)]
        if not fitting:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._policy.permitted(host, fitting, request.port)

    async def _addresses(self, name: str) -> Sequence[Address]:
        until, addresses = self._names.get(name, (0.0, ()))
        if until > time.monotonic():
            return addresses
        try:
            async with asyncio.timeout(_LOOKUP_S):
                addresses = await self._resolver.resolve(name, self._lookups)
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer in {_LOOKUP_S:g} s") from None
        self._names[name] = (time.monotonic() + _REMEMBERED_S, addresses)
        self._names.move_to_end(name)
        if len(self._names) > _MOST_NAMES:
            self._names.popitem(last=False)
        return addresses

    async def _send(self, token: int, fd: int) -> None:
        """Send a copy of the descriptor; waits while the guest has not taken those before it."""
        async with self._sending, asyncio.timeout(_TAKE_S):
            while True:
                try:
                    socket.send_fds(self._sock, [_TOKEN.pack(token)], [fd])
                except BlockingIOError:
                    await self._room()
                else:
                    return

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()
        # A copy: the socket may be closed meanwhile, and its number be another's.
        fd = os.dup(self._sock.fileno())
        loop.add_writer(fd, lambda: None if room.done() else room.set_result(None))
        try:
            await room
        finally:
            loop.remove_writer(fd)
            os.close(fd)


class _Pace:
    """Lets ``burst`` requests pass at once and ``per_second`` thereafter; more of them wait."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._interval = 1 / policy.per_second
        self._slack = policy.burst * self._interval
        self._next = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        self._next = max(self._next, now - self._slack) + self._interval
        if self._next > now:
            await asyncio.sleep(self._next - now)


@dataclass(frozen=True, slots=True)
class _Story:
    session_id: str
    request: Request

    def tell(self, decision: str, reason: str = "", address: Address | None = None) -> None:
        """Write a line of the decision: where to, granted or why not; never data."""
        audit.write(
            f"egress {decision}",
            session_id=self.session_id,
            decision=decision,
            host=ascii(self.request.host[:253])[1:-1],
            port=self.request.port,
            address=str(address or ""),
            reason=reason,
        )


def _failure(number: int, text: str = "") -> Answer:
    return {"errno": number, "text": text or os.strerror(number)}


def _request(operation: str, args: list[Any], kwargs: dict[str, Any]) -> Request:
    """Return the request of a call. Raises ViolationError where none of ours looks so."""
    fields = {"host": str, "port": int, "version": int}
    if operation == "connect":
        fields |= {"address": str, "timeout_s": float, "token": int}
    elif operation != "resolve":
        raise ViolationError("an unknown operation")
    if args or kwargs.keys() != fields.keys():
        raise ViolationError("other fields than a request has")
    if any(type(kwargs[name]) is not kind for name, kind in fields.items()):
        raise ViolationError("a field of the wrong type")
    request = Request(**kwargs)
    fits = 0 <= request.port <= _MAX_PORT and request.version in _VERSIONS
    if not fits or not 0 <= request.token < _MOST_TOKENS or not request.timeout_s > 0:
        raise ViolationError("a number out of its range")
    if operation == "connect" and request.port == 0:
        raise ViolationError("no port")
    return request
