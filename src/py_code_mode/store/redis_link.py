"""Commands to one Redis: a pool of connections, a deadline, bounded retries, one kind of error.

redis-py's connections do the protocol. Its client and its own retries stay out of it: here each
attempt knows that it is one, so that a script can tell its own first attempt from someone else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from py_code_mode.errors import ConfigurationError
from py_code_mode.store import redis_errors
from py_code_mode.store.redis_probe import speaks_the_other
from py_code_mode.store.redis_scripts import Script
from py_code_mode.store.redis_url import RedisAddress, address_of, refuse_without_password

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Argument = bytes | str | int
Command = Sequence[Argument]

#: Commands in flight at once; more wait, so that a burst does not use up the server's connections.
MAX_CONNECTIONS = 32
#: Seconds before each further attempt.
PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.4)
#: What a slow network moves, for the time limit of large bodies.
SLOWEST_BYTES_PER_S = 4_000_000


class Work(Protocol[T_co]):
    """Something to attempt; ``again`` says that an earlier attempt may have done it already."""

    def __call__(self, *, again: bool) -> Awaitable[T_co]: ...


class RedisClient(Protocol):
    """What is needed of a client that the caller brings: redis-py's asyncio one fits."""

    connection_pool: Any  # its class has been moved and renamed between versions of redis-py


class RedisLink:
    """One Redis. Every public method raises only errors of ours, within ``timeout_s``."""

    def __init__(
        self, address: RedisAddress, pool: ConnectionPool | None, timeout_s: float
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._given = pool
        self._pool = pool
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def to_address(cls, address: RedisAddress, *, timeout_s: float) -> RedisLink:
        """Return a link with connections of its own."""
        return cls(address, None, timeout_s)

    @classmethod
    def over(cls, client: RedisClient, *, timeout_s: float, allow_insecure: bool) -> RedisLink:
        """Return a link over a client's connections. Raises ConfigurationError for another kind."""
        pool = getattr(client, "connection_pool", None)
        if not isinstance(pool, ConnectionPool):
            raise ConfigurationError(
                "redis=… takes a client of redis.asyncio (redis.asyncio.Redis), neither a "
                "synchronous one nor one of a cluster"
            )
        arguments = dict(pool.connection_kwargs)
        tls = "SSL" in pool.connection_class.__name__
        address = address_of(arguments, tls=tls)
        if not allow_insecure:
            refuse_without_password(arguments, address)
        return cls(address, pool, timeout_s)

    async def call(self, *command: Argument, key: str = "") -> Any:
        """Send one command; ``key`` is what an error about a type names."""
        return (await self.pipeline([command], key=key))[0]

    async def pipeline(self, commands: Sequence[Command], *, key: str = "", size: int = 0) -> Any:
        """Send commands in one round trip; an error of any is raised. Sent again on failure."""
        replies = await self.attempt(lambda again: self.exchange(commands), key=key, size=size)
        for reply in replies:
            if isinstance(reply, Exception):
                raise redis_errors.translated(reply, self.address, key=key) from reply
        return replies

    async def replies(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip; the errors of single ones are among the replies."""
        return await self.attempt(lambda again: self.exchange(commands))

    async def script(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[Argument],
        *,
        before: Sequence[Command] = (),
        key: str = "",
        size: int = 0,
    ) -> Any:
        """Run a script after the commands ``before``, in one round trip where the server knows it.

        Scripts get ``'1'`` as first argument when they may have run already, else ``'0'``.
        """

        async def once(*, again: bool) -> Any:
            return await self.evaluate(
                self.exchange, script, keys, arguments, before=before, again=again
            )

        return await self.attempt(once, key=key, size=size)

    async def evaluate(
        self,
        exchange: Callable[[Sequence[Command]], Awaitable[list[Any]]],
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[Argument],
        *,
        before: Sequence[Command] = (),
        again: bool,
    ) -> Any:
        """Run a script once over ``exchange``; errors are redis-py's."""
        rest = (len(keys), *keys, int(again), *arguments)
        *earlier, reply = await exchange([*before, (b"EVALSHA", script.digest, *rest)])
        if isinstance(reply, redis_errors.NoScriptError):
            (reply,) = await exchange([(b"EVAL", script.text, *rest)])
        for one in (*earlier, reply):
            if isinstance(one, Exception):
                raise one
        return reply

    async def attempt(self, work: Work[T], *, key: str = "", size: int = 0) -> T:
        """Do ``work`` until it succeeds, its error is final or the time is up.

        The first attempt gets half of the time: a connection that died silently hangs, and a
        fresh one may answer. ``work`` is told whether it is a further attempt.
        """
        self._enter_loop()
        clock = asyncio.get_running_loop().time
        allowed = self.timeout_s + size / SLOWEST_BYTES_PER_S
        end = clock() + allowed
        error: BaseException
        for number, pause in enumerate(PAUSES_S):
            if pause:
                await asyncio.sleep(pause)
            try:
                async with asyncio.timeout_at(end if number else end - allowed / 2):
                    return await work(again=number > 0)
            except redis_errors.ANY as caught:
                error = caught
            following = PAUSES_S[number + 1] if number + 1 < len(PAUSES_S) else allowed
            if not redis_errors.is_passing(error) or clock() + following >= end:
                break
        raise await self._explained(error, key) from error

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands and return the replies, errors among them; errors are redis-py's."""
        async with self._slots:
            pool = self._pool
            assert pool is not None  # noqa: S101 - attempt() saw to it
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # its own gap
            try:
                return await exchange_on(connection, commands)
            finally:
                await pool.release(connection)

    def own_connection(self) -> AbstractConnection:
        """Return a connection beside the pool's, not connected, for RESP3's pushed messages."""
        pool = self._pool
        assert pool is not None  # noqa: S101 - attempt() saw to it
        return pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._pool is not None and self._given is None:
            await self._pool.disconnect()
            self._pool = None

    def _enter_loop(self) -> None:
        """Make what belongs to an event loop anew where it is another one than last time."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
            self._pool = self._given
        if self._pool is None:
            self._pool = _pool(self.address, self.timeout_s)

    async def _explained(self, error: BaseException, key: str) -> Exception:
        other = redis_errors.seems_the_wrong_protocol(error) and await speaks_the_other(
            self.address
        )
        return redis_errors.translated(error, self.address, key=key, other_protocol=other)


async def exchange_on(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Send commands over ``connection`` and return the replies, errors among them.

    Invariant: a connection on which replies are still due is closed, also when this is cancelled;
    redis-py closes it when a read ends early.
    """
    await connection.send_packed_command(list(_packed(commands)))
    return [await _reply(connection) for _ in commands]


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except redis_errors.ResponseError as error:
        return error


def _packed(commands: Sequence[Command]) -> Iterator[bytes]:
    """Yield commands as Redis reads them; redis-py's packing takes several times as long."""
    for command in commands:
        yield b"*%d\r\n" % len(command)
        for argument in command:
            text = argument if isinstance(argument, bytes) else str(argument).encode()
            yield b"$%d\r\n" % len(text)
            yield text
            yield b"\r\n"


def _pool(address: RedisAddress, timeout_s: float) -> ConnectionPool:
    arguments = dict(address.connection)
    kind = arguments.pop("connection_class", Connection)
    return ConnectionPool(
        connection_class=kind,
        **arguments,
        protocol=3,
        # Each attempt has its own deadline, which knows how large the body is.
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        # These would cost round trips at each connect.
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )


def names_after(prefix: bytes, keys: Iterable[bytes]) -> list[str]:
    """Return the names in ``keys`` that begin with ``prefix``; what is no UTF-8 is no name."""
    found = []
    for key in keys:
        try:
            found.append(key[len(prefix) :].decode())
        except UnicodeDecodeError:
            continue
    return found
