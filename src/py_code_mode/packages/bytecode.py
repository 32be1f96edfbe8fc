"""Bytecode of files that are the same in an earlier folder, taken over instead of made again.

uv links files from its cache, so that the same file of the same package is one inode everywhere.
"""

from __future__ import annotations

import os
from contextlib import suppress

_CACHE = "__pycache__"


def reuse_bytecode(site: str, earlier: str) -> None:
    """Link the bytecode of what ``site`` shares with the folder ``earlier``, which may be gone."""
    for folder, _, files in os.walk(site):
        there = os.path.join(earlier, os.path.relpath(folder, site))
        compiled = _compiled(os.path.join(there, _CACHE))
        shared = [name for name in files if _same(folder, there, name)] if compiled else []
        names = [pyc for name in shared for pyc in compiled.get(name.removesuffix(".py"), ())]
        if not names:
            continue
        with suppress(FileExistsError):
            os.mkdir(os.path.join(folder, _CACHE))
        for name in names:
            with suppress(FileExistsError, FileNotFoundError):
                os.link(os.path.join(there, _CACHE, name), os.path.join(folder, _CACHE, name))


def _compiled(cache: str) -> dict[str, list[str]]:
    """Return the bytecode files in a folder by the module that they belong to."""
    found: dict[str, list[str]] = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(cache):
            found.setdefault(name.partition(".")[0], []).append(name)
    return found


def _same(folder: str, there: str, name: str) -> bool:
    if not name.endswith(".py"):
        return False
    try:
        return os.path.samestat(
            os.lstat(os.path.join(folder, name)), os.lstat(os.path.join(there, name))
        )
    except OSError:
        return False
