"""What a failing disk looks like to callers: one of two errors, with the path and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from py_code_mode.errors import CodeModeError, StorageFullError, StorageUnavailableError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_A_FOLDER = frozenset({errno.ENOTDIR, errno.ELOOP})


class NotAFileError(Exception):
    """Raised inside the store where a link, folder, pipe or device stands in a file's place."""

    def __init__(self, file: str, *, is_folder: bool = False) -> None:
        super().__init__(f"{file} is not a regular file, and links are not followed")
        self.is_folder = is_folder


class NotAFolderError(Exception):
    """Raised inside the store where a file or link stands in the place of the folder ``depth``.

    ``depth`` counts from 0, the first folder of the name.
    """

    def __init__(self, depth: int, *, is_link: bool) -> None:
        super().__init__(depth)
        self.depth = depth
        self.is_link = is_link


def changes_too_fast(name: str) -> StorageUnavailableError:
    """Return the error for an artifact that writers replace faster than it can be read."""
    return StorageUnavailableError(f"artifact {name!r} changes too fast to be read; try again")


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Turn every OSError of the block into StorageFullError or StorageUnavailableError."""
    try:
        yield
    except CodeModeError:  # some of ours are also PermissionError or TimeoutError
        raise
    except NotAFileError as error:
        raise StorageUnavailableError(f"{path}: {error}") from error
    except OSError as error:
        raise _translated(path, error) from error


def _translated(path: str, error: OSError) -> CodeModeError:
    what = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return StorageFullError(f"{what}; free some space or raise the quota of that disk")
    if error.errno in _REFUSED:
        return StorageUnavailableError(
            f"{what}; this process needs to read and write there: "
            "mount it writable or change its owner"
        )
    if error.errno in _NOT_A_FOLDER:
        return StorageUnavailableError(
            f"{what}; a real folder is needed there: symbolic links are not followed"
        )
    return StorageUnavailableError(f"{what}; check that disk and folder")
