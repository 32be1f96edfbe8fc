"""Search vectors as ``.state/vectors/<embedder>/<kind>.bin``: records that are appended.

A record is the hash, a CRC-32 and the float16 numbers; all records of a file have one length,
which its first bytes say. A record whose sum is wrong was never finished, or damaged: it is passed
over, and its vector is made again. Of two records of one hash the later one counts.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import time
import zlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from urllib.parse import quote

from py_code_mode.store.file_errors import disk_errors
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.names import STATE_FOLDER
from py_code_mode.store.vector_space import (
    KEY_BYTES,
    LOCK_WAIT_S,
    UNUSED_DAYS,
    VectorSpace,
    still_being_made,
)

if os.name == "posix":
    import fcntl

_HEAD = struct.Struct("<8sI4x")
_MAGIC = b"pcmvec1\n"
_SUM = struct.Struct("<I")
_DAY_S = 86_400
_LOCK_PAUSES_S = (0.002, 0.1)


class FileVectors:
    """The vectors below one folder. A file that cannot be understood counts as empty."""

    def __init__(self, root: FileRoot) -> None:
        self._root = root
        self._folder = root.under(STATE_FOLDER, "vectors")

    async def load(self, space: VectorSpace) -> dict[bytes, bytes]:
        """Return every vector of a space. Raises StorageUnavailableError."""
        return await asyncio.to_thread(self._load, space, used=True)

    async def get_many(self, space: VectorSpace, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the vectors of these hashes, those that exist. Raises StorageUnavailableError."""
        known = await asyncio.to_thread(self._load, space)
        return {key: known[key] for key in keys if key in known}

    async def put_many(self, space: VectorSpace, vectors: Mapping[bytes, bytes]) -> None:
        """Save vectors. Raises StorageFullError, StorageUnavailableError."""
        if vectors:
            await asyncio.to_thread(self._put, space, vectors)

    async def remove(self, space: VectorSpace, keys: Collection[bytes]) -> None:
        """Remove the vectors of these hashes, by writing the file anew."""
        await asyncio.to_thread(self._remove, space, frozenset(keys))

    @asynccontextmanager
    async def lock(self, space: VectorSpace) -> AsyncIterator[None]:
        """Hold the lock of a space, which the system takes back from a process that ends."""
        folder, name = self._place(space)
        with disk_errors(folder):
            os.makedirs(folder, exist_ok=True)
            descriptor = os.open(
                os.path.join(folder, f"{name}.lock"), os.O_RDWR | os.O_CREAT, 0o666
            )
        try:
            end, pause_s = time.monotonic() + LOCK_WAIT_S, _LOCK_PAUSES_S[0]
            while not _locked(descriptor):
                if time.monotonic() > end:
                    raise still_being_made(space)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LOCK_PAUSES_S[1])
            try:
                yield
            finally:
                # Closing alone would not release it while a forked child has the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def _load(self, space: VectorSpace, *, used: bool = False) -> dict[bytes, bytes]:
        folder, name = self._place(space)
        with disk_errors(folder):
            content = self._root.load(folder, f"{name}.bin")
            if used and content:
                self._note_use(os.path.join(folder, f"{name}.bin"))
        return dict(_records(content))

    def _put(self, space: VectorSpace, vectors: Mapping[bytes, bytes]) -> None:
        folder, name = self._place(space)
        length = len(next(iter(vectors.values())))
        with disk_errors(folder), self._root.exclusive():
            path = os.path.join(folder, f"{name}.bin")
            if _can_be_appended_to(path, length):
                self._root.append(folder, f"{name}.bin", _packed(vectors))
                return
            kept = dict(_records(self._root.load(folder, f"{name}.bin")))
            kept = {key: vector for key, vector in kept.items() if len(vector) == length}
            self._save(folder, name, {**kept, **vectors}, length)
            self._drop_unused(folder)

    def _remove(self, space: VectorSpace, keys: frozenset[bytes]) -> None:
        folder, name = self._place(space)
        with disk_errors(folder), self._root.exclusive():
            known = dict(_records(self._root.load(folder, f"{name}.bin")))
            kept = {key: vector for key, vector in known.items() if key not in keys}
            if len(kept) < len(known):
                length = len(next(iter(known.values())))
                self._save(folder, name, kept, length)

    def _save(self, folder: str, name: str, vectors: Mapping[bytes, bytes], length: int) -> None:
        self._root.save(folder, f"{name}.bin", _HEAD.pack(_MAGIC, length) + _packed(vectors))

    def _place(self, space: VectorSpace) -> tuple[str, str]:
        """Return folder and bare file name; an id that is too long for a name is hashed."""
        name = quote(space.embedder, safe=" @+=", errors="replace")
        if len(name) > 200 or name.startswith("."):
            name = blake2b(space.embedder.encode(errors="replace"), digest_size=16).hexdigest()
        return os.path.join(self._folder, name), space.kind

    def _note_use(self, path: str) -> None:
        with suppress(OSError):  # a folder that is read-only keeps its times
            if time.time() - os.stat(path).st_mtime > _DAY_S:
                os.utime(path)

    def _drop_unused(self, but: str) -> None:
        """Remove what embedders left that are no longer chosen."""
        oldest = time.time() - UNUSED_DAYS * _DAY_S
        with os.scandir(self._folder) as found:
            folders = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        for folder in folders:
            with suppress(FileNotFoundError):
                times = [
                    os.stat(os.path.join(folder, each)).st_mtime for each in os.listdir(folder)
                ]
                if folder != but and max(times, default=0) < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _can_be_appended_to(path: str, length: int) -> bool:
    """Tell whether a file is one of ours with vectors of this length and ends with a record."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD.size)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return False
    whole = (size - _HEAD.size) % (KEY_BYTES + _SUM.size + length) == 0
    return head == _HEAD.pack(_MAGIC, length) and whole


def _packed(vectors: Mapping[bytes, bytes]) -> bytes:
    return b"".join(
        part
        for key, vector in vectors.items()
        for part in (key, _SUM.pack(zlib.crc32(vector, zlib.crc32(key))), vector)
    )


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(content) < _HEAD.size or not content.startswith(_MAGIC):
        return
    _, length = _HEAD.unpack_from(content)
    start, size = KEY_BYTES + _SUM.size, KEY_BYTES + _SUM.size + length
    for at in range(_HEAD.size, len(content) - size + 1, size):
        key, vector = content[at : at + KEY_BYTES], content[at + start : at + size]
        if _SUM.unpack_from(content, at + KEY_BYTES)[0] == zlib.crc32(vector, zlib.crc32(key)):
            yield key, vector
