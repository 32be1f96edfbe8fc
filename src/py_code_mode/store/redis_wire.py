"""One connection to Redis: commands in one write, replies in one wait.

redis-py connects: TLS, login and database are its work. What follows goes past its layers, which
take longer than Redis and the network do together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import hiredis
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from py_code_mode.store import redis_errors

Argument = bytes | str | int
Command = Sequence[Argument]
#: Called with each reply as it arrives.
Heard = Callable[[Any], object]

#: How much is handed to the socket at once: it keeps copies of what it could not send yet.
_CHUNK_BYTES = 256 * 1024
_NOT_YET = object()


async def connect(
    kind: type[AbstractConnection], options: Mapping[str, Any], on_push: Heard | None = None
) -> RedisConnection:
    """Open a connection of redis-py's ``kind``; errors are redis-py's.

    ``on_push`` is called with the messages that a server sends unasked (RESP3).
    """
    # Callers have deadlines; with its own, redis-py takes wait_for, which may lose a cancellation.
    opened = kind(**{**options, "protocol": 3, "socket_timeout": None})
    try:
        await opened.connect()  # type: ignore[no-untyped-call]  # its own gap
    except BaseException:
        opened._close()  # type: ignore[no-untyped-call]  # its own gap
        raise
    return RedisConnection(opened, on_push)


class RedisConnection(asyncio.Protocol):
    """An open connection, used by one caller at a time.

    Invariant: one on which replies are still due is closed, so that no caller gets another's. So is
    one to a server that became a replica: the next connection may lead to the new primary.
    """

    def __init__(self, opened: AbstractConnection, on_push: Heard | None) -> None:
        self.closed = False
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=self._error, notEnoughData=_NOT_YET
        )
        self._on_push = on_push
        self._heard: Heard | None = None
        self._replies: list[Any] = []
        self._due = 0
        self._failure: Exception | None = None
        self._stale = False
        self._answered: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        # There is no public way to a connection's transport; redis-py keeps the object alive.
        writer = cast("asyncio.StreamWriter", opened._writer)
        self._transport = writer.transport
        self._transport.set_protocol(self)

    async def exchange(self, commands: Sequence[Command], heard: Heard | None = None) -> list[Any]:
        """Send commands and return the replies, errors of single commands among them."""
        if self.closed:
            raise ConnectionError("the connection is closed")
        self._replies, self._due, self._heard = [], len(commands), heard
        self._answered = answered = self._loop.create_future()
        try:
            for chunk in _chunks(commands):
                self._transport.write(chunk)
                if self._writable is not None:
                    await self._writable
                if self.closed:
                    break
            await answered
        except BaseException:
            self.close()
            raise
        finally:
            self._answered = None
        if self._stale or self._failure is not None:
            self.close()
        if self._failure is not None:
            raise self._failure
        return self._replies

    def close(self) -> None:
        """Close at once; whoever waits for replies gets an error."""
        if not self.closed:
            self.closed = True
            self._transport.abort()
            self._opened._close()  # type: ignore[no-untyped-call]  # its own gap

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOT_YET:
                self._take(reply)
        except InvalidResponse as error:
            self._failure = error
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()
        self.resume_writing()
        if self._answered is not None and not self._answered.done():
            lost = self._failure or exc or ConnectionError("the connection was closed")
            self._answered.set_exception(lost)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _take(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            if self._on_push is not None:
                self._on_push(reply)
            return
        if not self._due:
            raise InvalidResponse("a reply to no command")
        self._replies.append(reply)
        if self._heard is not None:
            self._heard(reply)
        self._due -= 1
        if not self._due and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _error(self, text: str) -> Exception:
        error: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]  # its own gap
        self._stale = self._stale or redis_errors.is_of_a_replica(error)
        if isinstance(error, RedisConnectionError):  # of the server as a whole: it is loading, say
            self._failure = error
        return error


def _chunks(commands: Sequence[Command]) -> Iterator[bytes | memoryview]:
    """Yield what to send, in pieces of bounded size; a large argument is not copied."""
    pieces: list[bytes] = []
    size = 0
    for command in commands:
        pieces.append(b"*%d\r\n" % len(command))
        for argument in command:
            text = argument if isinstance(argument, bytes) else str(argument).encode()
            length = len(text)
            size += length
            if size < _CHUNK_BYTES:
                pieces.append(b"$%d\r\n%b\r\n" % (length, text))
                continue
            yield b"".join([*pieces, b"$%d\r\n" % length])
            large = memoryview(text)
            for start in range(0, length, _CHUNK_BYTES):
                yield large[start : start + _CHUNK_BYTES]
            pieces, size = [b"\r\n"], 0
    yield b"".join(pieces)
