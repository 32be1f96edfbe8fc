"""Commands and replies on one connection of redis-py, which does the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection

from py_code_mode.store import redis_errors

Argument = bytes | str | int
Command = Sequence[Argument]
#: Called with each reply as it arrives.
Heard = Callable[[Any], object]

#: How much is handed to the socket at once: it keeps copies of what it could not send yet.
_CHUNK_BYTES = 256 * 1024


async def exchange_on(
    connection: AbstractConnection, commands: Sequence[Command], heard: Heard | None = None
) -> list[Any]:
    """Send commands over ``connection`` and return the replies, errors among them.

    Invariant: a connection on which replies are still due is closed, also when this is cancelled;
    redis-py closes it when a read ends early. So is one to a server that became a replica: the
    next connection may lead to the new primary.
    """
    await _send(connection, commands)
    replies = []
    for _ in commands:
        reply = await _reply(connection)
        replies.append(reply)
        if heard is not None:
            heard(reply)
    if any(map(redis_errors.is_of_a_replica, replies)):
        await connection.disconnect(nowait=True)
    return replies


async def _send(connection: AbstractConnection, commands: Sequence[Command]) -> None:
    begun = False
    for chunk in _chunks(commands):
        # Invariant: a command is never continued on another connection, which would take the rest
        # of a body for commands. redis-py connects anew by itself where there is no connection.
        if begun and not connection.is_connected:
            raise ConnectionError("the connection was closed while a command was sent")
        await connection.send_packed_command(chunk, check_health=not begun)
        begun = True


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except redis_errors.ResponseError as error:
        return error


def _chunks(commands: Sequence[Command]) -> Iterator[list[bytes]]:
    """Yield what to send, in pieces of bounded size; a large argument is not copied as a whole."""
    pieces: list[bytes] = []
    size = 0
    for piece in _packed(commands):
        if pieces and size + len(piece) > _CHUNK_BYTES:
            yield pieces
            pieces, size = [], 0
        if len(piece) <= _CHUNK_BYTES:
            pieces.append(piece)
            size += len(piece)
            continue
        for start in range(0, len(piece), _CHUNK_BYTES):
            yield [piece[start : start + _CHUNK_BYTES]]
    yield pieces


def _packed(commands: Sequence[Command]) -> Iterator[bytes]:
    """Yield commands as Redis reads them; redis-py's packing takes several times as long."""
    for command in commands:
        yield b"*%d\r\n" % len(command)
        for argument in command:
            text = argument if isinstance(argument, bytes) else str(argument).encode()
            yield b"$%d\r\n" % len(text)
            yield text
            yield b"\r\n"
