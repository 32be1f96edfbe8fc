"""What an installer left in a folder, looked at as hostile, and closed against change.

Packages are only data here: the host reads names and sizes, and never imports or runs any of it.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from importlib.machinery import all_suffixes
from typing import Final

from packaging.utils import canonicalize_name

from py_code_mode.errors import DepInstallError
from py_code_mode.packages.specs import RESERVED_MODULES
from py_code_mode.text import one_line

log = logging.getLogger(__name__)

#: How an installed version is written down.
RESOLVED: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,199}==[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")
_DIST_INFO: Final = ".dist-info"
#: Files that Python's ``site`` would execute, and the installer's own lock.
_NEVER_KEPT: Final = (".pth", ".start", ".lock")
_MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
_BLOCK: Final = 512


def inspect(site: str) -> tuple[str, ...]:
    """Check an installed folder and return its ``name==version``, ordered.

    Raises:
        DepInstallError: for a module named like one of Python's or the guest's, a link, or
            anything that is no plain file.
    """
    _drop_startup_files(site)
    for entry in sorted(os.scandir(site), key=lambda entry: entry.name):
        module = _module(entry)
        if module in RESERVED_MODULES:
            package = _owner(site, entry.name)
            raise _refused(package, f"it would install a module named {module!r}, which is taken")
    for entry in _walk(site):
        mode = entry.stat(follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            inside = os.path.relpath(entry.path, site)
            kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
            package = _owner(site, inside.partition(os.sep)[0])
            raise _refused(package, f"it has {one_line(inside, 80)!r}, which is {kind}")
    return tuple(sorted(_resolved(site)))


def close(site: str) -> None:
    """Make an inspected folder read-only, and readable to workers, which have uids of their own."""
    for entry in _walk(site):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o555)  # noqa: S103
        elif entry.is_file(follow_symlinks=False):
            # Set-uid bits go too. Hard links share this mode with uv's cache, which does not mind.
            os.chmod(entry.path, 0o444)
    os.chmod(site, 0o555)  # noqa: S103


def tree_size(*folders: str) -> int:
    """Return the bytes on disk of all that is in these folders; a file linked twice counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for folder in folders:
        for entry in _walk(folder):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # uv is at work
            sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
    return sum(sizes.values())


def _walk(top: str) -> Iterator[os.DirEntry[str]]:
    """Yield all entries, a folder after what is in it; what vanishes meanwhile is passed over."""
    try:
        entries = list(os.scandir(top))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        yield entry


def _drop_startup_files(site: str) -> None:
    for entry in list(os.scandir(site)):
        if entry.name.endswith(_NEVER_KEPT) and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
            if entry.name != ".lock":
                log.warning("a package brought %s, which is not kept", one_line(entry.name))


def _module(entry: os.DirEntry[str]) -> str:
    """Return the top-level module that an entry would be imported as, or its plain name."""
    if not entry.is_dir(follow_symlinks=False) and entry.name.endswith(tuple(all_suffixes())):
        return entry.name.partition(".")[0]
    return entry.name


def _resolved(site: str) -> Iterator[str]:
    for name in os.listdir(site):
        project, _, version = name.removesuffix(_DIST_INFO).partition("-")
        line = f"{canonicalize_name(project)}=={version}"
        if name.endswith(_DIST_INFO) and RESOLVED.fullmatch(line):
            yield line


def _owner(site: str, top: str) -> str:
    """Return the package whose record lists the top-level entry ``top``."""
    wanted = tuple(f"{top}{end}".encode() for end in "/,")
    for name in sorted(os.listdir(site)):
        if name.endswith(_DIST_INFO):
            record = os.path.join(site, name, "RECORD")
            descriptor = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                lines = file.read(_MAX_RECORD_BYTES).splitlines()
            if any(line.startswith(wanted) for line in lines):
                return canonicalize_name(name.partition("-")[0])
    return "a package"


def _refused(package: str, reason: str) -> DepInstallError:
    return DepInstallError(f"{package} is refused: {reason}", package=package, reason=reason)
