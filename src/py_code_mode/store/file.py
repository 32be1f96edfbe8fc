"""The storage that is a folder: readable, and editable by hand."""

from __future__ import annotations

import asyncio
import os

from py_code_mode.store.file_artifacts import FileArtifacts
from py_code_mode.store.file_deps import FileDeps
from py_code_mode.store.file_errors import disk_errors
from py_code_mode.store.file_records import FileRecords
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.file_skills import FileSkills
from py_code_mode.store.file_tools import FileTools
from py_code_mode.store.file_vectors import FileVectors


class FileStorage:
    """Everything of one trust domain as files below ``base_path``.

    ``tools/*.yaml``, ``skills/*.py``, ``artifacts/…`` and ``requirements.txt`` may be edited by
    hand, and the next call sees it; versions, records, search vectors and the locks are below
    ``.state``. Several
    processes may share the folder. A process that is killed never leaves half a file; nothing is
    synced, so a power failure may lose the last seconds. Symbolic links in it are not followed.

    Args:
        base_path: the folder; the first write creates it.
    """

    def __init__(self, base_path: str | os.PathLike[str]) -> None:
        self._root = FileRoot(base_path)
        self.tools = FileTools(self._root)
        self.skills = FileSkills(self._root)
        self.artifacts = FileArtifacts(self._root)
        self.deps = FileDeps(self._root)
        self.vectors = FileVectors(self._root)
        self.records = FileRecords(self._root)
        self.resolutions = None

    def describe(self) -> str:
        """Return where it lives, like ``files at /srv/code-mode``."""
        return f"files at {self._root.path}"

    async def check(self) -> None:
        """Raise StorageUnavailableError, saying why, unless a file can be written there."""
        await asyncio.to_thread(self._check)

    async def aclose(self) -> None:
        """Do nothing: no file is held open between calls."""

    def _check(self) -> None:
        with disk_errors(self._root.path), self._root.draft(b"check"):
            pass
