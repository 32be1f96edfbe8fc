"""Records that expire, as ``.state/records/<hash of the key>``: 8 bytes say when; the value."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import Collection
from hashlib import blake2b

from py_code_mode.store.file_errors import disk_errors
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.names import STATE_FOLDER

_EXPIRY = struct.Struct("<d")
_SWEEP_EVERY_S = 600.0


class FileRecords:
    """The records below one folder. All methods raise StorageUnavailableError, StorageFullError."""

    def __init__(self, root: FileRoot) -> None:
        self._root = root
        self._folder = root.under(STATE_FOLDER, "records")
        self._swept_at = time.monotonic()

    async def get(self, key: str) -> bytes | None:
        """Return a record, None where there is none or its time is over."""
        return await asyncio.to_thread(self._get, key)

    async def get_many(self, keys: Collection[str]) -> dict[str, bytes]:
        """Return the records of these keys, those that exist."""

        def get_each() -> dict[str, bytes | None]:
            return {key: self._get(key) for key in keys}

        found = await asyncio.to_thread(get_each)
        return {key: value for key, value in found.items() if value is not None}

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Save or replace a record, which is kept for ``ttl_s`` seconds."""
        await asyncio.to_thread(self._put, key, value, ttl_s)

    async def claim(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        """Save a record unless there is one, which is then returned."""
        return await asyncio.to_thread(self._claim, key, value, ttl_s)

    async def remove(self, key: str) -> None:
        """Remove a record; removing one that is not there changes nothing."""
        await asyncio.to_thread(self._remove, _name(key))

    def _get(self, key: str) -> bytes | None:
        with disk_errors(self._folder):
            content = self._root.load(self._folder, _name(key))
        if len(content) < _EXPIRY.size or _EXPIRY.unpack_from(content)[0] < time.time():
            return None
        return content[_EXPIRY.size :]

    def _put(self, key: str, value: bytes, ttl_s: float) -> None:
        with disk_errors(self._folder):
            self._root.save(self._folder, _name(key), _EXPIRY.pack(time.time() + ttl_s) + value)
        if time.monotonic() - self._swept_at > _SWEEP_EVERY_S:
            self._swept_at = time.monotonic()
            self._sweep()

    def _claim(self, key: str, value: bytes, ttl_s: float) -> bytes | None:
        with disk_errors(self._folder), self._root.exclusive():
            known = self._get(key)
            if known is None:
                self._put(key, value, ttl_s)
        return known

    def _remove(self, name: str) -> None:
        with disk_errors(self._folder), contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._folder, name))

    def _sweep(self) -> None:
        """Remove what nobody can get any more."""
        with disk_errors(self._folder):
            for name in os.listdir(self._folder):
                content = self._root.load(self._folder, name)
                if len(content) < _EXPIRY.size or _EXPIRY.unpack_from(content)[0] < time.time():
                    self._remove(name)


def _name(key: str) -> str:
    return blake2b(key.encode(), digest_size=20).hexdigest()
