"""Tells which keys anybody has changed: also a person with redis-cli, who counts no revision.

One connection asks Redis for tracking by prefix (``CLIENT TRACKING … BCAST``, Redis 6). The names
of changed keys arrive on it ahead of the answer to the next command, so asking costs nothing
beyond the question itself. Where a server refuses tracking, the revisions remain.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from py_code_mode.store import redis_errors
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_wire import Command, RedisConnection

#: How often messages are fetched while nobody asks: the server keeps them until then.
DRAIN_S = 20.0
#: From this many changed names on, reading everything is no dearer.
MAX_TOUCHED = 1000
_log = logging.getLogger(__name__)


class Touched:
    """The keys of one prefix that were changed since they were last taken; or any may have been."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.anything = True

    def add(self, key: bytes) -> None:
        """Note one key."""
        self.keys.add(key)
        self.anything = self.anything or len(self.keys) > MAX_TOUCHED

    def lose(self) -> None:
        """Note that anything may have changed."""
        self.anything = True

    def take(self) -> tuple[set[bytes], bool]:
        """Return the keys and whether it may be any, and begin anew."""
        taken = self.keys, self.anything
        self.keys, self.anything = set(), False
        return taken


class RedisWatch:
    """A connection that hears of changes below ``prefixes``; without it, asking works the same."""

    def __init__(self, link: RedisLink, prefixes: Sequence[bytes]) -> None:
        self._link = link
        self.touched = {prefix: Touched() for prefix in prefixes}
        self._connection: RedisConnection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._draining: asyncio.Task[None] | None = None

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands and note what was changed before they were answered.

        Errors are redis-py's: call it within ``RedisLink.attempt``.
        """
        self._enter_loop()
        if self._refused:
            return await self._link.exchange(commands)
        async with self._lock:
            connection = self._connection or await self._open()
            if connection is None:
                return await self._link.exchange(commands)
            try:
                replies = await connection.exchange(commands)
            except BaseException:
                self._drop()
                raise
        self._drain_later()
        return replies

    async def aclose(self) -> None:
        """Close the connection; the next question opens another."""
        self._enter_loop()
        if self._draining is not None:
            self._draining.cancel()
            with suppress(asyncio.CancelledError):
                await self._draining
        async with self._lock:
            self._drop()

    async def _open(self) -> RedisConnection | None:
        connection = await self._link.connect(self._hear)
        prefixes = [part for prefix in self.touched for part in (b"PREFIX", prefix)]
        command = (b"CLIENT", b"TRACKING", b"ON", b"BCAST", *prefixes)
        (reply,) = await connection.exchange([command])
        if isinstance(reply, redis_errors.ResponseError):
            connection.close()
            self._refused = True
            _log.warning(
                "Redis at %s offers no key tracking: changes made past py-code-mode are seen "
                "only once they are counted (docs/how-to/redis.md)",
                self._link.address.shown,
            )
            return None
        self._connection = connection
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for touched in self.touched.values():
            touched.lose()
        if connection is not None:
            connection.close()

    def _hear(self, message: Sequence[Any]) -> None:
        """Note the keys of one message; one without keys says that all are gone."""
        if message[0] != b"invalidate":
            return
        keys = message[1]
        for prefix, touched in self.touched.items():
            if keys is None:
                touched.lose()
                continue
            for key in keys:
                if key.startswith(prefix):
                    touched.add(key)

    def _drain_later(self) -> None:
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(DRAIN_S, self._start_draining)

    def _start_draining(self) -> None:
        self._timer = None
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        if self._connection is not None:
            with suppress(*redis_errors.ANY):
                async with asyncio.timeout(self._link.timeout_s):
                    await self.exchange([(b"PING",)])

    def _enter_loop(self) -> None:
        """Forget a connection whose event loop is over."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock = loop, asyncio.Lock()
            self._connection = self._timer = self._draining = None
            for touched in self.touched.values():
                touched.lose()
