"""Measuring and removing a session's folder, whose content is hostile.

Done as the uid that owns the folder, through descriptors only: a name that was swapped for a link
leads nowhere, and nothing that another uid owns can be touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Final

_MAX_ENTRIES: Final = 100_000
_MAX_DEPTH: Final = 64
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Reported for a folder too deep or too full to be measured.
UNBOUNDED: Final = 1 << 62


def measure(path: str, uid: int | None) -> int:
    """Return the bytes the folder takes on disk; UNBOUNDED where it cannot be walked."""
    with _as_owner(uid):
        try:
            return _size(os.open(path, _OPEN), [0], 0)
        except FileNotFoundError:
            return 0
        except (OSError, RecursionError, OverflowError):
            return UNBOUNDED


def wipe(path: str, uid: int | None) -> str | None:
    """Remove the folder and all in it; return None, or why something was left."""
    with _as_owner(uid):
        try:
            fd = os.open(path, _OPEN)
        except FileNotFoundError:
            return None
        except OSError as error:
            return str(error)
        try:
            _empty(fd)
        except OSError as error:
            return str(error)
        finally:
            os.close(fd)
    try:  # as ourselves: the folder around it is ours
        os.rmdir(path)
    except OSError as error:
        return str(error)
    return None


def remove_root(path: str) -> None:
    """Remove the folder of all sessions' folders, where it is empty."""
    with contextlib.suppress(OSError):
        os.rmdir(path)


def _size(fd: int, entries: list[int], depth: int) -> int:
    total = 0
    try:
        if depth > _MAX_DEPTH:
            return UNBOUNDED
        with os.scandir(fd) as listing:
            for entry in listing:
                entries[0] += 1
                if entries[0] > _MAX_ENTRIES:
                    return UNBOUNDED
                total += _entry_size(fd, entry, entries, depth)
    finally:
        os.close(fd)
    return total


def _entry_size(parent: int, entry: os.DirEntry[str], entries: list[int], depth: int) -> int:
    try:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_blocks * 512
        below = os.open(entry.name, _OPEN, dir_fd=parent)
    except FileNotFoundError:
        return 0  # gone since it was listed, as files do; the others still count
    return status.st_blocks * 512 + _size(below, entries, depth + 1)


def _empty(top: int) -> None:
    """Remove everything below ``top``, however deep. The session's process is dead by now.

    A folder is not entered but lifted to the top under a new name, and its content after it, so
    that no nesting is too deep for a path, a descriptor table or the stack.
    """
    number = 0
    prefix = secrets.token_hex(8)
    while names := _folders_left(top):
        for name in names:
            fd = os.open(name, _OPEN, dir_fd=top)
            try:
                for inner in _folders_left(fd):
                    number += 1
                    os.rename(inner, f"{prefix}-{number}", src_dir_fd=fd, dst_dir_fd=top)
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=top)


def _folders_left(fd: int) -> list[str]:
    """Unlink what is not a folder; return the names of the folders, made accessible."""
    os.fchmod(fd, 0o700)
    with os.scandir(fd) as listing:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    for name, is_folder in entries:
        if is_folder:
            os.chmod(name, 0o700, dir_fd=fd)
        else:
            os.unlink(name, dir_fd=fd)
    return [name for name, is_folder in entries if is_folder]


@contextlib.contextmanager
def _as_owner(uid: int | None) -> Iterator[None]:
    """Act as the folder's owner for a while; the real uid stays, so nobody may signal us."""
    if uid is None:
        yield
        return
    own = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(own)
