"""The folder of installed packages on the path, which the host changes between two frames."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile

_folder = ""


def use(folder: str) -> None:
    """Import from ``folder`` in place of the one before; empty for none.

    What was imported stays as it is. No ``.pth`` file is read.
    """
    global _folder  # noqa: PLW0603 - as the path is, one for the whole process
    if type(sys.path) is not list:  # agent code made something else of it: its own affair
        return
    if _folder in sys.path:
        sys.path.remove(_folder)
    for path in list(sys.path_importer_cache):
        if path == _folder or path.startswith(_folder + os.sep):
            del sys.path_importer_cache[path]
    _folder = folder
    if folder:
        # After the interpreter's own, before the session's folder: that never hides anything.
        home = tempfile.gettempdir()
        sys.path.insert(sys.path.index(home) if home in sys.path else len(sys.path), folder)
    importlib.invalidate_caches()
