"""Commands to one Redis: connections for many callers, a deadline, bounded retries, one error.

redis-py's client and its retries stay out of it: here each attempt knows that it is one, so that a
script can tell its own first attempt from someone else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from py_code_mode.errors import ConfigurationError
from py_code_mode.store import redis_errors
from py_code_mode.store.redis_probe import speaks_the_other
from py_code_mode.store.redis_scripts import Script
from py_code_mode.store.redis_url import RedisAddress, address_of, refuse_without_password
from py_code_mode.store.redis_wire import Argument, Command, Heard, RedisConnection, connect

T = TypeVar("T")

#: Commands in flight at once; more wait, so that a burst does not use up the server's connections.
MAX_CONNECTIONS = 32
#: Seconds before each further attempt.
PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.4)
#: What a slow network moves, for the time limit of large bodies.
SLOWEST_BYTES_PER_S = 4_000_000
#: The part of the time, and the seconds at most, in which to find out what was wrong.
_PROBE_PART, _PROBE_S = 0.2, 0.5


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of several attempts at something; ``again``: an earlier one may have done it already."""

    again: bool
    _limit: asyncio.Timeout

    def expect(self, size: int) -> None:
        """Allow the time that ``size`` bytes take on a slow network."""
        end = self._limit.when()
        if end is not None:
            self._limit.reschedule(end + size / SLOWEST_BYTES_PER_S)


#: Something to attempt.
Work = Callable[[Attempt], Awaitable[T]]


class RedisClient(Protocol):
    """What is needed of a client that the caller brings: redis-py's asyncio one fits."""

    connection_pool: Any  # its class has been moved and renamed between versions of redis-py


class RedisLink:
    """One Redis. Every public method raises only errors of ours, within ``timeout_s``."""

    def __init__(
        self,
        address: RedisAddress,
        kind: type[AbstractConnection],
        options: Mapping[str, Any],
        timeout_s: float,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._kind = kind
        self._options = options
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._open: WeakSet[RedisConnection] = WeakSet()
        self._free: list[RedisConnection] = []
        self._probe_s = min(_PROBE_S, timeout_s * _PROBE_PART)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def to_address(cls, address: RedisAddress, *, timeout_s: float) -> RedisLink:
        """Return a link to the server of a URL."""
        options = dict(address.connection)
        kind = options.pop("connection_class", Connection)
        return cls(address, kind, {**options, **_connecting(timeout_s)}, timeout_s)

    @classmethod
    def over(cls, client: RedisClient, *, timeout_s: float, allow_insecure: bool) -> RedisLink:
        """Return a link to the server of a client, to which it connects as the client does.

        Raises:
            ConfigurationError: for another kind of client, or one without a password.
        """
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
        return cls(address, pool.connection_class, arguments, timeout_s)

    async def call(self, *command: Argument, key: str = "") -> Any:
        """Send one command; ``key`` is what an error about a type names."""
        return (await self.pipeline([command], key=key))[0]

    async def pipeline(self, commands: Sequence[Command], *, key: str = "", size: int = 0) -> Any:
        """Send commands in one round trip; an error of any is raised. Sent again on failure."""
        replies = await self.attempt(lambda _: self.exchange(commands), key=key, size=size)
        self._refuse_errors(replies, key)
        return replies

    async def sized(self, length: Command, command: Command, *, key: str = "") -> Any:
        """Send ``command``, whose reply has about the bytes that ``length`` answers, ahead of it.

        A large reply gets the time that it needs, and a Redis that is hung no more than others.
        """

        async def once(attempt: Attempt) -> list[Any]:
            def heard(reply: Any) -> None:
                if isinstance(reply, int):
                    attempt.expect(reply)

            return await self.exchange([length, command], heard)

        replies = await self.attempt(once, key=key)
        self._refuse_errors(replies, key)
        return replies[1]

    async def replies(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip; the errors of single ones are among the replies."""
        return await self.attempt(lambda _: self.exchange(commands))

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

        async def once(attempt: Attempt) -> Any:
            return await self.evaluate(
                self.exchange, script, keys, arguments, before=before, again=attempt.again
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
        fresh one may answer. What is left at the end is for finding out what is wrong.
        """
        self._enter_loop()
        clock = asyncio.get_running_loop().time
        allowed = self.timeout_s - self._probe_s + size / SLOWEST_BYTES_PER_S
        end = clock() + allowed
        error: BaseException
        for number, pause in enumerate(PAUSES_S):
            if pause:
                await asyncio.sleep(pause)
            try:
                async with asyncio.timeout_at(end if number else end - allowed / 2) as limit:
                    return await work(Attempt(number > 0, limit))
            except redis_errors.ANY as caught:
                error = caught
            following = PAUSES_S[number + 1] if number + 1 < len(PAUSES_S) else allowed
            if not redis_errors.is_passing(error) or clock() + following >= end:
                break
        raise await self._explained(error, key) from error

    async def exchange(self, commands: Sequence[Command], heard: Heard | None = None) -> list[Any]:
        """Send commands and return the replies, errors among them; errors are redis-py's."""
        async with self._slots:
            connection = self._idle() or await self.connect()
            try:
                return await connection.exchange(commands, heard)
            finally:
                if not connection.closed:
                    self._free.append(connection)

    async def connect(self, on_push: Heard | None = None) -> RedisConnection:
        """Return a new connection; errors are redis-py's."""
        connection = await connect(self._kind, self._options, on_push)
        self._open.add(connection)
        return connection

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        for connection in self._open:
            connection.close()
        self._forget()
        await asyncio.sleep(0)  # the event loop closes the sockets

    def _enter_loop(self) -> None:
        """Make what belongs to an event loop anew where it is another one than last time."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
            self._forget()

    def _idle(self) -> RedisConnection | None:
        """Return a connection that nobody uses; servers close those that are idle for long."""
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        return None

    def _forget(self) -> None:
        self._open.clear()
        self._free.clear()

    def _refuse_errors(self, replies: Sequence[Any], key: str) -> None:
        """Raise the first error; those of a transaction are within the reply to its EXEC."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise redis_errors.translated(reply, self.address, key=key) from reply
            if isinstance(reply, list):
                self._refuse_errors(reply, key)

    async def _explained(self, error: BaseException, key: str) -> Exception:
        other = redis_errors.seems_the_wrong_protocol(error) and await speaks_the_other(
            self.address, timeout_s=self._probe_s
        )
        return redis_errors.translated(error, self.address, key=key, other_protocol=other)


def _connecting(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        # These would cost round trips at each connect.
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
