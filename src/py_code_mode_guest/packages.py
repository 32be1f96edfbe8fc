"""The folder of installed packages on the path, which the host changes between two frames."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile

_folder = ""


def use(folder: str) -> None:
    """Import from ``folder`` in place of the one before; empty for none.

    What was imported stays as it is. No ``.pth`` file is read. Never raises: whoever reads frames
    is here on behalf of others, and what agent code made of Python's imports is its own affair.
    """
    global _folder
    before, _folder = _folder, folder
    with contextlib.suppress(BaseException):
        if before:
            _forget(before)
        if folder:
            _put(folder)
        importlib.invalidate_caches()


def _put(folder: str) -> None:
    # After the interpreter's own, before the session's folder: that never hides anything.
    home = _place(tempfile.gettempdir())
    sys.path.insert(len(sys.path) if home is None else home, folder)


def _forget(folder: str) -> None:
    place = _place(folder)
    if place is not None:
        del sys.path[place]
    for path in list(sys.path_importer_cache):
        if type(path) is str and (path == folder or path.startswith(folder + os.sep)):
            del sys.path_importer_cache[path]


def _place(folder: str) -> int | None:
    """Return where on the path a folder is; among objects of agent code's making, too."""
    for place, entry in enumerate(sys.path):
        if type(entry) is str and entry == folder:
            return place
    return None
