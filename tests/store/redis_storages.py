"""Opens Redis storages for tests, and counts what they send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from py_code_mode.store.redis import RedisStorage
from py_code_mode.store.redis_wire import RedisConnection

Open = Callable[..., RedisStorage]


@pytest.fixture
async def open_storage() -> AsyncIterator[Open]:
    """Opens storages, which are closed after the test."""
    async with AsyncExitStack() as opened:

        def open_one(url: str, **options: Any) -> RedisStorage:
            storage = RedisStorage(url, **options)
            opened.push_async_callback(storage.aclose)
            return storage

        yield open_one


@pytest.fixture
def redis_storage(open_storage: Open, shared_redis_url: str, redis_prefix: str) -> RedisStorage:
    """A storage below a prefix of its own."""
    return open_storage(shared_redis_url, prefix=redis_prefix)


class RoundTrips:
    """Counts what was sent, on any connection."""

    def __init__(self) -> None:
        self.sent = 0

    def since(self, before: int) -> int:
        """Return how many were sent since the count was ``before``."""
        return self.sent - before


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> RoundTrips:
    """Counts the times anything is sent before an answer is awaited."""
    counter = RoundTrips()
    send = AbstractConnection.send_packed_command

    async def counted(self: AbstractConnection, *args: Any, **kwargs: Any) -> None:
        counter.sent += 1
        await send(self, *args, **kwargs)

    exchange = RedisConnection.exchange

    async def counted_too(self: RedisConnection, *args: Any, **kwargs: Any) -> list[Any]:
        counter.sent += 1
        return await exchange(self, *args, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    monkeypatch.setattr(RedisConnection, "exchange", counted_too)
    return counter
