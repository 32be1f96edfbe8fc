"""Records that expire, as ``<prefix>:session:<id>``, ``<prefix>:execution:<session>:<id>``, …."""

from __future__ import annotations

from collections.abc import Collection

from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink


class RedisRecords:
    """The records below one prefix. All methods raise StorageUnavailableError."""

    def __init__(self, link: RedisLink, keys: RedisKeys) -> None:
        self._link = link
        self._keys = keys

    async def get(self, key: str) -> bytes | None:
        """Return a record, None where there is none or its time is over."""
        name = self._keys.record(key)
        value: bytes | None = await self._link.call(b"GET", name, key=name.decode())
        return value

    async def get_many(self, keys: Collection[str]) -> dict[str, bytes]:
        """Return the records of these keys, those that exist."""
        if not keys:
            return {}
        found: list[bytes | None] = await self._link.call(b"MGET", *map(self._keys.record, keys))
        return {key: value for key, value in zip(keys, found, strict=True) if value is not None}

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Save or replace a record, which is kept for ``ttl_s`` seconds."""
        name = self._keys.record(key)
        await self._link.call(b"SET", name, value, b"PX", _ms(ttl_s), key=name.decode())

    async def claim(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        """Save a record unless there is one, which is then returned."""
        name = self._keys.record(key)
        known: bytes | None = None
        while known is None:  # once more where another's ended between the two commands
            _, known = await self._link.pipeline(
                [(b"SET", name, value, b"PX", _ms(ttl_s), b"NX"), (b"GET", name)],
                key=name.decode(),
            )
        return None if known == value else known

    async def remove(self, key: str) -> None:
        """Remove a record; removing one that is not there changes nothing."""
        name = self._keys.record(key)
        await self._link.call(b"DEL", name, key=name.decode())


def _ms(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))
