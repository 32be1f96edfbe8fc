"""Source distributions that uv fetched, and the wheels that come of them: names and archives.

Nothing of a source is run here. It was unpacked by uv, in whose cache it is found.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tarfile
from dataclasses import dataclass
from typing import Final

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from py_code_mode.packages.contents import RESOLVED
from py_code_mode.text import quoted

#: What uv says when it would run a build backend and may not.
_UNBUILT: Final = re.compile(
    r"Failed to build `(?P<name>[^`=\s]+)==(?P<version>[^`\s]+)` cause: Failed to run `"
)
#: Where its cache has a source: of the default index, and of others and of folders.
_PLACES: Final = ("sdists-v*/*", "sdists-v*/*/*")
_WHEEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\.whl")
#: Archives of wheels have no time before 1980.
_TIME: Final = 315619200
_MAX_NAME_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Source:
    """One version of a package that has to be built; ``name`` as PEP 503 writes it."""

    name: str
    version: str


def unbuilt(stderr: str) -> Source | None:
    """Return what uv has fetched and would have to build, from what it printed."""
    found = _UNBUILT.search(" ".join(stderr.split()))
    if found is None:
        return None
    name, version = canonicalize_name(found["name"]), found["version"]
    return Source(name, version) if RESOLVED.fullmatch(f"{name}=={version}") else None


def find_source(downloads: str, source: Source) -> str | None:
    """Return the folder in uv's cache with the newest unpacked source; None where there is none."""
    patterns = [f"{place}/{source.name}/{source.version}/*/src" for place in _PLACES]
    found = [path for each in patterns for path in glob.glob(each, root_dir=downloads)]
    paths = [os.path.join(downloads, path) for path in found]
    folders = [path for path in paths if os.path.isdir(path) and not os.path.islink(path)]
    return max(folders, key=lambda path: os.lstat(path).st_mtime_ns, default=None)


def pack(folder: str, archive: str) -> str:
    """Write a folder to a tar file, links as links; returns a hash, equal for equal content."""
    with tarfile.open(archive, "x", dereference=False) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), name, filter=_anonymous)
    with open(archive, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def take_wheel(answer: bytes, source: Source) -> tuple[str, bytes]:
    """Return the name and the content of the wheel in a build's answer, which is hostile.

    Raises:
        ValueError: says what is wrong with it.
    """
    first, _, content = answer.partition(b"\n")
    name = first[:_MAX_NAME_BYTES].decode("ascii", "replace")
    try:
        made, version, *_ = parse_wheel_filename(name)
        wanted = Version(source.version)
    except (InvalidWheelFilename, InvalidVersion):
        raise ValueError(f"its build made {quoted(name)}, which is no wheel") from None
    if not _WHEEL_NAME.fullmatch(name):
        raise ValueError(f"its build made {quoted(name)}, which is no wheel")
    if (made, version) != (source.name, wanted):
        raise ValueError(f"its build made {quoted(name)}, which is not {source.name} {wanted}")
    return name, content


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = _TIME
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
