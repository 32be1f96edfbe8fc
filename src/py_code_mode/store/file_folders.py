"""Folders reached through descriptors, one segment at a time, so that no link leads outside.

Everything here is relative to an open folder and uses ``O_NOFOLLOW``: a symbolic link that
somebody puts below the root is never followed, also not when it appears between two steps.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b

from py_code_mode.store.file_errors import NotAFileError, NotAFolderError
from py_code_mode.store.names import MAX_NAME_CHARS

# Absent on Windows, where the module must still import; FileRoot refuses to start there.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW
# Without O_NONBLOCK a named pipe in a file's place would hold the reader for ever.
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NOFOLLOW


#: Length of the digests that records carry.
DIGEST_BYTES = 32

#: Size, modification time in ns and inode: equal for a file nobody has touched.
Identity = tuple[int, int, int]


def identity(status: os.stat_result) -> Identity:
    """Return what tells one content of a file from the next without reading it."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def open_folder(path: str) -> int:
    """Return a descriptor of the folder ``path``, whose last part must not be a link."""
    return os.open(path, _FOLDER)


@contextmanager
def folder(path: str) -> Iterator[int]:
    """Open a folder as ``open_folder`` does, and close it after the block."""
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def below(top: int, segments: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Walk from the open folder ``top`` through ``segments`` and yield the last descriptor.

    Raises:
        NotAFolderError: where a segment is a file or a link.
        FileNotFoundError: where a segment is missing and ``create`` is false.
    """
    opened = top
    try:
        for depth, segment in enumerate(segments):
            deeper = _open_segment(opened, segment, depth, create=create)
            if opened != top:
                os.close(opened)
            opened = deeper
        yield opened
    finally:
        if opened != top:
            os.close(opened)


def open_file(within: int, name: str) -> io.FileIO:
    """Return a regular file, open to be read. Raises NotAFileError for anything else."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=within)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link; a socket or a device without one
            raise NotAFileError(name) from error
        raise
    try:
        _check_regular(name, os.fstat(descriptor))
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_file(within: int, name: str) -> tuple[bytes, os.stat_result]:
    """Return content and status of a regular file. Raises NotAFileError for anything else."""
    with open_file(within, name) as file:
        return file.readall(), os.fstat(file.fileno())


def file_digest(within: int, name: str) -> tuple[str, os.stat_result]:
    """Return blake2b and status of a regular file without holding it in memory."""
    with open_file(within, name) as file:
        found = hashlib.file_digest(file, lambda: blake2b(digest_size=DIGEST_BYTES))
        return found.hexdigest(), os.fstat(file.fileno())


def file_status(within: int, name: str) -> os.stat_result:
    """Return the status of a regular file. Raises NotAFileError for anything else."""
    status = os.stat(name, dir_fd=within, follow_symlinks=False)
    _check_regular(name, status)
    return status


def walk(top: int) -> Iterator[tuple[int, str, str]]:
    """Yield (folder descriptor, file name, path from ``top``) of each regular file, any order.

    Folders that vanish meanwhile, or that this process may not open, are passed over.
    """
    for segments, opened, entries in _folders(top):
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield opened, entry.name, "/".join((*segments, entry.name))


def remove_empty(within: int, name: str) -> None:
    """Remove the folder ``name`` and the empty folders in it; OSError if a file is in there."""
    with below(within, [name]) as top:
        inner = [segments for segments, _, _ in _folders(top)]
    for segments in reversed(inner):
        path = [name, *segments]
        with below(within, path[:-1]) as above:
            os.rmdir(path[-1], dir_fd=above)


def names_in(path: str) -> list[str]:
    """Return the names in a folder, in order; none where it does not exist."""
    try:
        with folder(path) as opened:
            return sorted(os.listdir(opened))
    except FileNotFoundError:
        return []


def listing_token(path: str, suffixes: tuple[str, ...]) -> str:
    """Return a token that differs once a file with one of ``suffixes`` came, went or changed."""
    seen = blake2b(digest_size=16)
    with suppress(FileNotFoundError), folder(path) as opened:
        for name in sorted(os.listdir(opened)):
            if name.endswith(suffixes):
                with suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                    seen.update(repr((name, *identity(status))).encode("utf-8", "replace"))
    return seen.hexdigest()


def _folders(top: int) -> Iterator[tuple[tuple[str, ...], int, list[os.DirEntry[str]]]]:
    # Each folder is reached from the top again: however deep a tree, few descriptors are open.
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        segments = waiting.pop()
        passed_over = suppress(FileNotFoundError, NotAFolderError, PermissionError)
        with passed_over, below(top, segments) as opened:
            with os.scandir(opened) as found:
                entries = list(found)
            deeper = [(*segments, e.name) for e in entries if e.is_dir(follow_symlinks=False)]
            waiting += [path for path in deeper if len("/".join(path)) < MAX_NAME_CHARS]
            yield segments, opened, entries


def _check_regular(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError(name, is_folder=stat.S_ISDIR(status.st_mode))


def _open_segment(within: int, segment: str, depth: int, *, create: bool) -> int:
    try:
        return os.open(segment, _FOLDER, dir_fd=within)
    except FileNotFoundError:
        if not create:
            raise
        with suppress(FileExistsError):
            os.mkdir(segment, dir_fd=within)
        return _open_segment(within, segment, depth, create=False)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
        status = os.stat(segment, dir_fd=within, follow_symlinks=False)
        raise NotAFolderError(depth, is_link=stat.S_ISLNK(status.st_mode)) from error
