"""The folders that an artifact is in, and what may stand in the way of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from py_code_mode.errors import InvalidArtifactNameError
from py_code_mode.store.file_errors import NotAFileError, NotAFolderError
from py_code_mode.store.file_folders import below, file_status, remove_empty, walk
from py_code_mode.store.names import artifact_clash, artifact_not_found, is_artifact_name


@contextmanager
def parent(top: int, name: str, segments: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Open the folder an artifact is in; where a file or a link is in the way, say which."""
    try:
        with below(top, segments[:-1], create=create) as within:
            yield within
    except NotAFolderError as error:
        other = "/".join(segments[: error.depth + 1])
        if error.is_link:
            raise link_in_the_way(name, other) from error
        raise (artifact_clash(name, other) if create else artifact_not_found(name)) from None


def check_replaceable(within: int, file: str, name: str) -> None:
    """Raise InvalidArtifactNameError where a link or a folder with artifacts is in the way."""
    try:
        file_status(within, file)
    except FileNotFoundError:
        return
    except NotAFileError as error:
        if not error.is_folder:
            raise link_in_the_way(name, name) from error
        _make_way(within, file, name)


def _make_way(within: int, file: str, name: str) -> None:
    """Remove a folder that holds no artifact; raise InvalidArtifactNameError if one is in it."""
    with below(within, [file]) as top:
        inner = sorted(path for _, _, path in walk(top) if is_artifact_name(f"{name}/{path}"))
    if inner:
        raise artifact_clash(name, f"{name}/{inner[0]}")
    try:
        remove_empty(within, file)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        raise InvalidArtifactNameError(
            f"artifact {name!r} cannot be saved: a folder of that name holds links or files that "
            "are no artifacts; move them away",
            name=name,
        ) from error


def remove_empty_parents(top: int, segments: Sequence[str]) -> None:
    """Remove the folders above a removed artifact that are empty now."""
    for depth in range(len(segments) - 1, 0, -1):
        try:
            with below(top, segments[: depth - 1]) as above:
                os.rmdir(segments[depth - 1], dir_fd=above)
        except (OSError, NotAFolderError):  # not empty, so the folders above it are not either
            return


def link_in_the_way(name: str, link: str) -> InvalidArtifactNameError:
    """Return the error for a link, or a special file, where a folder or a body would be."""
    return InvalidArtifactNameError(
        f"artifact {name!r}: {link!r} is a link or no regular file, and links are not followed; "
        "remove it or choose another name",
        name=name,
    )
