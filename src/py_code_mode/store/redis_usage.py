"""How much a prefix holds: skills and artifacts together, counted by the scripts that save them."""

from __future__ import annotations

import asyncio
from typing import Any

from py_code_mode.errors import StorageFullError
from py_code_mode.models import MIB
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_scripts import script

_TOTAL = b"total"
_AT_ONCE = 500
#: Between two recounts: a store that is full for good must not be walked at each save.
_RECOUNT_S = 60.0


class RedisUsage:
    """The limit of a prefix (``limit`` in bytes, 0 for none) and what was counted against it."""

    def __init__(self, link: RedisLink, keys: RedisKeys, max_store_mb: int | None) -> None:
        self.limit = (max_store_mb or 0) * MIB
        self._link = link
        self._keys = keys
        self._next_recount = 0.0

    async def total(self) -> int:
        """Return the counted bytes."""
        return int(await self._link.call(b"HGET", self._keys.sizes, _TOTAL) or 0)

    async def recount(self) -> bool:
        """Forget what was removed past us (DEL, an eviction); tell whether that freed any."""
        now = asyncio.get_running_loop().time()
        if now < self._next_recount:
            return False
        self._next_recount = now + _RECOUNT_S
        freed, cursor = 0, b"0"
        while True:
            cursor, page = await self._link.call(
                b"HSCAN", self._keys.sizes, cursor, b"COUNT", _AT_ONCE
            )
            names = [name for name in page[::2] if name != _TOTAL]
            prefix = f"{self._keys.prefix}:"
            reply: Any = await self._link.script(
                script("recount"), [self._keys.sizes], [prefix, *names]
            )
            freed += int(reply)
            if int(cursor) == 0:
                return freed > 0

    def full(self, total: int, what: str) -> StorageFullError:
        """Return the error for a save that would make the sum ``total``."""
        return StorageFullError(
            f"{what} does not fit: skills and artifacts of {self._keys.prefix!r} would have "
            f"{total:,} bytes and may have {self.limit:,} (MAX_STORE_MB); delete some",
            max_bytes=self.limit,
        )
