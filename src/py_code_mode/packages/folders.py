"""The package folders on disk: found by what is in them, published whole, swept when unused.

Below one cache folder::

    packages/<key>/site-packages    what workers append to their path, read-only
    packages/<key>/resolved.txt     one name==version per line; its time says when it was used last
    downloads/                      uv's own cache
    aside/                          what is being built; nothing outlives its installer
    lock                            held by whoever builds or sweeps
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Final

from packaging.tags import sys_tags

from py_code_mode.errors import ConfigurationError
from py_code_mode.packages.contents import tree_size

#: Changes whenever folders of an older version must not be used any more.
_FORMAT: Final = "1"
_SITE, _RESOLVED = "site-packages", "resolved.txt"
_LOCK_POLL_S: Final = 0.05
_STAMP_EVERY_S: Final = 3600.0
#: Far longer than a run can last: a session is given the current folder before each run.
_KEPT_UNUSED_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class PackageFolder:
    """A complete, read-only folder; ``resolved`` are its ``name==version``, ordered."""

    path: str
    resolved: tuple[str, ...]


def default_cache_dir() -> str:
    """Return a folder that session uids can get at, which one below a home may not be."""
    return os.path.join(tempfile.gettempdir(), f"py-code-mode-packages-{os.geteuid()}")


class PackageFolders:
    """The folders of one cache, which any number of processes may share."""

    def __init__(self, cache_dir: str | os.PathLike[str]) -> None:
        self._top = os.path.abspath(cache_dir)
        self.packages = os.path.join(self._top, "packages")
        self.downloads = os.path.join(self._top, "downloads")
        self._aside = os.path.join(self._top, "aside")

    def prepare(self) -> None:
        """Make what is missing. Raises ConfigurationError where others could write there."""
        try:
            os.makedirs(os.path.dirname(self._top), exist_ok=True)
            for folder in (self._top, self.packages, self.downloads, self._aside):
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
                _check_private(folder)
            # Workers have uids of their own and read packages, and nothing else, in here.
            os.chmod(self._top, 0o711)  # noqa: S103
            os.chmod(self.packages, 0o755)  # noqa: S103
        except OSError as error:
            raise ConfigurationError(
                f"the package cache {self._top} cannot be used: {error.strerror}"
            ) from error

    def find(self, key: str) -> PackageFolder | None:
        """Return the complete folder of this key, and note that it is in use."""
        record = os.path.join(self.packages, key, _RESOLVED)
        try:
            with open(record, encoding="ascii") as file:
                resolved = tuple(file.read().split())
                age_s = time.time() - os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        if age_s > _STAMP_EVERY_S:
            with suppress(FileNotFoundError):
                os.utime(record)
        return PackageFolder(os.path.join(self.packages, key, _SITE), resolved)

    def holds(self, folder: PackageFolder) -> bool:
        """Tell whether a folder is still there, and note that it is in use."""
        return self.find(os.path.basename(os.path.dirname(folder.path))) is not None

    def newest(self) -> str:
        """Return the path of the folder that was used last, which need not exist."""
        entries = (entry.path for entry in os.scandir(self.packages))
        return os.path.join(max(entries, key=_last_used, default=""), _SITE)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Be the only one, among processes too, who builds and sweeps."""
        path = os.path.join(self._top, "lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 - held by other processes too
                await asyncio.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def new_aside(self) -> str:
        """Return a new folder to build in; its ``entry`` is what :meth:`publish` takes."""
        aside = tempfile.mkdtemp(dir=self._aside)
        for name in ("entry", "given", "home", "made", "work"):
            os.mkdir(os.path.join(aside, name), 0o755)
        os.mkdir(site_of(aside), 0o755)
        return aside

    def publish(self, aside: str, key: str, resolved: tuple[str, ...]) -> PackageFolder:
        """Make a built folder the one of its key, in one step."""
        built, entry = os.path.join(aside, "entry"), os.path.join(self.packages, key)
        with open(os.path.join(built, _RESOLVED), "w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in resolved)
        with suppress(FileNotFoundError):  # somebody removed a part of it by hand
            os.rename(entry, os.path.join(aside, "broken"))
        os.chmod(built, 0o755)  # noqa: S103 - whatever the umask made of it
        os.rename(built, entry)
        return PackageFolder(os.path.join(entry, _SITE), resolved)

    def sweep(self, *, max_download_bytes: int) -> None:
        """Remove what crashed installers left, what is unused, and downloads beyond the limit."""
        horizon = time.time() - _KEPT_UNUSED_S
        for entry in list(os.scandir(self.packages)):
            if _last_used(entry.path) < horizon:
                os.rename(entry.path, os.path.join(self._aside, f"unused-{entry.name}"))
        for entry in list(os.scandir(self._aside)):
            remove_tree(entry.path)
        if tree_size(self.downloads) > max_download_bytes:
            remove_tree(self.downloads)
            os.mkdir(self.downloads, 0o700)


def folder_key(specs: Collection[str], constraints: Collection[str] = ()) -> str:
    """Return the name of the folder for these specs, on this Python and platform."""
    key = _digest(_FORMAT, _platform(), *sorted(specs))
    return f"{key}-{_digest(*sorted(constraints))}" if constraints else key


def platform_key() -> str:
    """Return what stands for this Python and platform in names."""
    return _digest(_platform())


def site_of(aside: str) -> str:
    """Return where the packages go in a folder that is being built."""
    return os.path.join(aside, "entry", _SITE)


def made_of(aside: str) -> str:
    """Return where the wheels are that were built for a folder that is being built."""
    return os.path.join(aside, "made")


def remove_tree(path: str) -> None:
    """Remove a folder with all in it, read-only folders too; links are not followed."""
    for folder, _, _ in os.walk(path):
        with suppress(FileNotFoundError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)


@cache
def _platform() -> str:
    return f"{sys.implementation.cache_tag} {next(iter(sys_tags()))}"


def _digest(*parts: str) -> str:
    return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _check_private(folder: str) -> None:
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        problem = "is not a folder"
    elif status.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = "can be written by others"
    else:
        return
    raise ConfigurationError(
        f"the package cache cannot be used: {folder} {problem}; name a folder of your own"
    )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_used(entry: str) -> float:
    try:
        return os.stat(os.path.join(entry, _RESOLVED)).st_mtime
    except FileNotFoundError:
        return 0.0
