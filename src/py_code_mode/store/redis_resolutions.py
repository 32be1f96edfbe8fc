"""Resolved versions as ``<prefix>:resolved:<key>``: a JSON list, which the first replica writes."""

from __future__ import annotations

import json
import logging

from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink

_log = logging.getLogger(__name__)


class RedisResolutions:
    """What sets of specs were resolved to, below one prefix."""

    def __init__(self, link: RedisLink, keys: RedisKeys) -> None:
        self._link = link
        self._keys = keys

    async def get(self, key: str) -> tuple[str, ...]:
        """Return the resolution of ``key``, empty where there is none."""
        name = self._keys.resolved(key)
        return self._read(name, await self._link.call(b"GET", name, key=name.decode()))

    async def settle(self, key: str, resolved: tuple[str, ...]) -> tuple[str, ...]:
        """Keep ``resolved`` unless ``key`` has a resolution; return the one that it has now."""
        name = self._keys.resolved(key)
        # Two commands: SET with both NX and GET is known from Redis 7 on.
        _, now = await self._link.pipeline(
            [(b"SET", name, json.dumps(resolved), b"NX"), (b"GET", name)], key=name.decode()
        )
        return self._read(name, now) or resolved

    def _read(self, name: bytes, text: bytes | None) -> tuple[str, ...]:
        try:
            value = json.loads(text or b"[]")
        except ValueError:
            value = None
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            return tuple(value)
        _log.warning(
            "passed over: %r in Redis at %s is no list of versions; delete it",
            name.decode(),
            self._link.address.shown,
        )
        return ()
