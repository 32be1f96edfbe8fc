"""Records that expire, in a dictionary."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

_SWEEP_AT = 1000


class MemoryRecords:
    """The records of one process. Safe to share by threads."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[float, bytes]] = {}
        self._sweep_at = _SWEEP_AT
        self._lock = threading.Lock()

    async def get(self, key: str) -> bytes | None:
        """Return a record, None where there is none or its time is over."""
        with self._lock:
            return self._get(key)

    async def get_many(self, keys: Collection[str]) -> dict[str, bytes]:
        """Return the records of these keys, those that exist."""
        with self._lock:
            found = {key: self._get(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Save or replace a record, which is kept for ``ttl_s`` seconds."""
        with self._lock:
            self._put(key, value, ttl_s)

    async def claim(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        """Save a record unless there is one, which is then returned."""
        with self._lock:
            known = self._get(key)
            if known is None:
                self._put(key, value, ttl_s)
            return known

    async def remove(self, key: str) -> None:
        """Remove a record; removing one that is not there changes nothing."""
        with self._lock:
            self._records.pop(key, None)

    def _get(self, key: str) -> bytes | None:
        ends_at, value = self._records.get(key, (0.0, b""))
        return value if ends_at > time.monotonic() else None

    def _put(self, key: str, value: bytes, ttl_s: float) -> None:
        now = time.monotonic()
        self._records[key] = (now + ttl_s, value)
        if len(self._records) >= self._sweep_at:
            self._records = {k: kept for k, kept in self._records.items() if kept[0] > now}
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._records))
