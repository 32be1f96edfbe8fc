"""The folder a file storage lives in: files written aside and renamed, one writer at a time.

A process that is killed leaves the old or the new whole file, never a part of one. Nothing is
synced to the disk (no fsync): what survives a power failure is up to the file system.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from py_code_mode.errors import NotAvailableError, StorageUnavailableError
from py_code_mode.store.draft import Draft, write_all
from py_code_mode.store.file_folders import names_in, open_folder
from py_code_mode.store.names import STATE_FOLDER

if sys.platform != "win32":
    import fcntl

_Result = TypeVar("_Result")

#: How long a writer waits for the others, who need well below a millisecond each.
LOCK_TIMEOUT_S = 30.0
#: How old a file written aside must be before it counts as left by a killed process.
LEFTOVER_AGE_S = 3600.0


class FileRoot:
    """The paths, the lock and the drafts of one storage folder. Its methods block.

    Args:
        path: the folder; it and what it needs are created by the first write.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if os.open not in os.supports_dir_fd:
            raise NotAvailableError(
                "file storage needs descriptors of folders, which this system does not have; "
                "use Linux, macOS or a Redis storage"
            )
        self.path = os.path.abspath(os.fspath(path))
        self._drafts = self.under(STATE_FOLDER, "tmp")
        self._lock_file = self.under(STATE_FOLDER, "lock")
        self._writers = threading.Lock()
        self._swept = False

    def under(self, *parts: str) -> str:
        """Return the path of something in the folder."""
        return os.path.join(self.path, *parts)

    @contextmanager
    def made(self, path: str) -> Iterator[int]:
        """Open the folder ``path``, creating it where it is missing, and yield its descriptor."""
        descriptor = _made(path, partial(open_folder, path))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def draft(self, content: bytes) -> Iterator[Draft]:
        """Write ``content`` aside, on the same file system, and yield the draft."""
        draft = self.new_draft()
        try:
            self.open_draft(draft)
            draft.write(content)
            draft.finish()
            yield draft
        finally:
            draft.discard()

    def new_draft(self) -> Draft:
        """Return a draft on the same file system, which its owner discards in any case."""
        return Draft(os.path.join(self._drafts, secrets.token_hex(8)))

    def open_draft(self, draft: Draft) -> None:
        """Create the draft's file."""
        self._sweep_once()
        _made(self._drafts, draft.open)

    def save(self, path: str, name: str, content: bytes) -> None:
        """Put a file at ``name`` of the folder ``path``, which is created where it is missing."""
        with self.draft(content) as draft, self.made(path) as opened:
            draft.place(opened, name)

    def append(self, path: str, name: str, content: bytes) -> int:
        """Append to a file of ours, created where it is missing; return its new length."""
        return _made(path, partial(_append, os.path.join(path, name), content))

    def load(self, path: str, name: str) -> bytes:
        """Return the content of a file of ours, empty where there is none."""
        try:
            with open(os.path.join(path, name), "rb", buffering=0) as file:
                return file.readall()
        except FileNotFoundError:
            return b""

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other writers out, of this process and of others.

        Raises:
            StorageUnavailableError: when another writer holds the lock for LOCK_TIMEOUT_S.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        if not self._writers.acquire(timeout=LOCK_TIMEOUT_S):
            raise self._locked_out()
        try:
            descriptor = _made(self.under(STATE_FOLDER), self._open_lock)
            try:
                self._lock(descriptor, deadline)
                yield
            finally:
                # Closing alone would not release it while a forked child has the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        finally:
            self._writers.release()

    def _open_lock(self) -> int:
        return os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o666)

    def _lock(self, descriptor: int, deadline: float) -> None:
        pause_s = 0.0005
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self._locked_out() from None
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.01)
            else:
                return

    def _locked_out(self) -> StorageUnavailableError:
        return StorageUnavailableError(
            f"{self._lock_file}: another process has held the lock for {LOCK_TIMEOUT_S:.0f} s; "
            "find it with `fuser` or `lsof` and end it"
        )

    def _sweep_once(self) -> None:
        if self._swept:
            return
        oldest = time.time() - LEFTOVER_AGE_S
        for name in names_in(self._drafts):
            path = os.path.join(self._drafts, name)
            with suppress(FileNotFoundError):
                if os.lstat(path).st_mtime < oldest:
                    os.unlink(path)
        self._swept = True


def _made(path: str, action: Callable[[], _Result]) -> _Result:
    """Return what ``action`` gives; where the folder ``path`` is missing, create it first."""
    try:
        return action()
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)
        return action()


def _append(path: str, content: bytes) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        write_all(descriptor, content)
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)
