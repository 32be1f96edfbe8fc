"""A file that is written aside, whole or in pieces, and vanishes unless it is put in place."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from hashlib import blake2b

from py_code_mode.store.file_folders import DIGEST_BYTES, Identity, identity


class Draft:
    """One file written aside: open it, write, finish and place it; and discard it in any case.

    Its methods block, and threads take turns: whoever gives up may discard it while a thread still
    writes, which then does nothing more.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        #: What the complete file shows; it keeps that when it is put in place.
        self.identity: Identity = (0, 0, 0)
        #: What was written to it until now, in bytes.
        self.size = 0
        self._hash = blake2b(digest_size=DIGEST_BYTES)
        self._descriptor: int | None = None
        self._over = False
        self._turn = threading.Lock()

    @property
    def mtime_ns(self) -> int:
        """When it was finished, in ns since the epoch."""
        return self.identity[1]

    @property
    def digest(self) -> str:
        """The blake2b of all pieces."""
        return self._hash.hexdigest()

    def open(self) -> None:
        """Create the file, which nobody else may have created. Raises OSError."""
        with self._turn:
            if not self._over:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    def write(self, content: bytes) -> None:
        """Append to the file. Raises OSError."""
        with self._turn:
            if self._descriptor is None:
                return
            write_all(self._descriptor, content)
            self.size += len(content)

    def write_piece(self, piece: bytes) -> None:
        """Append to the file, and to what ``digest`` is of. Raises OSError."""
        self._hash.update(piece)
        self.write(piece)

    def finish(self) -> None:
        """Close the file, which is complete. Raises OSError."""
        with self._turn:
            if self._descriptor is None:
                return
            # The kernel's own time moves in steps of some ms: two files written in one step would
            # look alike to whoever compares times. This one is different for each.
            now = time.time_ns()
            os.utime(self._descriptor, ns=(now, now))
            self.identity = identity(os.fstat(self._descriptor))
            self._close()

    def place(self, within: int | None, name: str) -> None:
        """Put the file at ``name`` of the open folder ``within``, in one step. Raises OSError."""
        with self._turn:
            os.replace(self.path, name, dst_dir_fd=within)
            self._over = True

    def discard(self) -> None:
        """Remove the file unless it was put in place."""
        with self._turn:
            self._close()
            if not self._over:
                with suppress(OSError):  # what cannot be removed now is swept later
                    os.unlink(self.path)
            self._over = True

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def write_all(descriptor: int, content: bytes) -> None:
    """Write to a descriptor, in as many steps as it takes. Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
