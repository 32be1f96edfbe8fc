"""Large bodies as files of a shared folder, named by chance, because shares ignore case.

A body is written first and its record second, so no record names half a file. What a writer that
died left behind is swept a day later. One folder serves one Redis; each prefix has its own below.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import secrets
import time
from collections.abc import AsyncIterable, Iterator
from contextlib import aclosing, suppress
from hashlib import blake2b

from py_code_mode.errors import CodeModeError
from py_code_mode.store.draft import Draft
from py_code_mode.store.file_errors import disk_errors
from py_code_mode.store.pieces import gathered
from py_code_mode.store.redis_catalog import scan
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink

#: Age at which a file that no record names is taken for left behind.
ABANDONED_S = 24 * 3600.0
#: Between two sweeps, among all replicas.
_SWEEP_EVERY_S = 3600
_AT_ONCE = 500
_FILE = re.compile(r"[0-9a-f]{32}(\.part)?")
_log = logging.getLogger(__name__)


class RedisBodies:
    """The folder for the bodies of one prefix that are larger than ``inline_max`` bytes."""

    def __init__(self, link: RedisLink, keys: RedisKeys, path: str, inline_max: int) -> None:
        self._link = link
        self._keys = keys
        self._inline_max = inline_max
        of_prefix = blake2b(keys.prefix.encode(), digest_size=16).hexdigest()
        self._folder = os.path.join(os.path.abspath(path), of_prefix)
        self._next_sweep = 0.0

    @property
    def shown(self) -> str:
        """Where the bodies are, for messages."""
        return self._folder

    def takes(self, size: int) -> bool:
        """Tell whether a body of ``size`` bytes lives here."""
        return size > self._inline_max

    async def write(self, body: bytes) -> bytes:
        """Write a body under a new name, which is returned once all of it is there."""
        name = secrets.token_hex(16)
        await asyncio.to_thread(self._write, name, body)
        return name.encode()

    async def receive(self, pieces: AsyncIterable[bytes]) -> tuple[bytes, bytes, int]:
        """Take a body in pieces; returns it or the name of the file that has it, and its size.

        What ``pieces`` raises is raised, and nothing is left.
        """
        name, held = secrets.token_hex(16), bytearray()
        draft = self._draft(name)
        try:
            async with aclosing(gathered(pieces)) as larger:
                async for piece in larger:
                    held += piece
                    if self.takes(draft.size + len(held)):
                        await asyncio.to_thread(self._append, draft, bytes(held))
                        held.clear()
            if not draft.size:
                return bytes(held), b"", len(held)
            await asyncio.to_thread(self._complete, draft, name)
            return b"", name.encode(), draft.size
        finally:
            await asyncio.to_thread(draft.discard)

    async def open(self, name: bytes) -> io.FileIO | None:
        """Return a body's open file, or None where it is missing."""
        return await asyncio.to_thread(self._open, name.decode(errors="replace"))

    async def read_all(self, file: io.FileIO) -> bytes:
        """Return what an open file has, which is closed then."""

        def read() -> bytes:
            with disk_errors(self._folder), file:
                return file.readall()

        return await asyncio.to_thread(read)

    async def size_of(self, file: io.FileIO) -> int:
        """Return the bytes of an open file."""
        return (await asyncio.to_thread(os.fstat, file.fileno())).st_size

    async def discard(self, name: bytes) -> None:
        """Remove a body whose record is gone; a reader that still had it looks again."""
        if name:
            await asyncio.to_thread(self._remove, name.decode(errors="replace"))
        await self._sweep_sometimes()

    async def sweep(self) -> int:
        """Remove what no record names and is old enough; return how many files."""
        candidates = await asyncio.to_thread(lambda: list(self._old_files()))
        if not candidates:
            return 0
        used = await self._used()
        gone = [name for name in candidates if name not in used]
        for name in gone:
            await asyncio.to_thread(self._remove, name)
        return len(gone)

    async def _sweep_sometimes(self) -> None:
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_EVERY_S
        lock = (b"SET", self._keys.sweep_lock, b"1", b"NX", b"EX", _SWEEP_EVERY_S)
        try:
            if await self._link.call(*lock):
                await self.sweep()
        except CodeModeError as error:  # the save or removal that led here has succeeded
            _log.warning("left bodies of artifacts unswept: %s", error.message)

    async def _used(self) -> set[str]:
        names = await scan(self._link, self._keys, "artifacts")
        used: set[str] = set()
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            commands = [(b"HGET", self._keys.item("artifacts", name), b"body") for name in some]
            replies = await self._link.replies(commands)
            used.update(reply.decode(errors="replace") for reply in replies if _is_text(reply))
        return used

    def _write(self, name: str, body: bytes) -> None:
        draft = self._draft(name)
        try:
            self._append(draft, body)
            self._complete(draft, name)
        finally:
            draft.discard()

    def _draft(self, name: str) -> Draft:
        return Draft(os.path.join(self._folder, f"{name}.part"))

    def _append(self, draft: Draft, piece: bytes) -> None:
        with disk_errors(self._folder):
            if not draft.size:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                draft.open()
            draft.write(piece)

    def _complete(self, draft: Draft, name: str) -> None:
        with disk_errors(self._folder):
            draft.finish()
            draft.place(None, os.path.join(self._folder, name))

    def _open(self, name: str) -> io.FileIO | None:
        # Invariant: a record that somebody else wrote cannot name a file outside of the folder.
        if not _FILE.fullmatch(name):
            return None
        with disk_errors(self._folder):
            try:
                return open(os.path.join(self._folder, name), "rb", buffering=0)
            except FileNotFoundError:
                return None

    def _remove(self, name: str) -> None:
        if _FILE.fullmatch(name):
            with suppress(OSError):  # what cannot be removed now is swept later
                os.unlink(os.path.join(self._folder, name))

    def _old_files(self) -> Iterator[str]:
        with (
            disk_errors(self._folder),
            suppress(FileNotFoundError),
            os.scandir(self._folder) as all_,
        ):
            for entry in all_:
                with suppress(FileNotFoundError):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if _FILE.fullmatch(entry.name) and age > ABANDONED_S:
                        yield entry.name


def _is_text(reply: object) -> bool:
    return isinstance(reply, bytes)
