"""Tool definitions as ``tools/<name>.yaml`` (``.yml`` is read too)."""

from __future__ import annotations

import asyncio
import logging
import os

from py_code_mode.errors import ToolError
from py_code_mode.store.file_errors import NotAFileError, disk_errors
from py_code_mode.store.file_folders import folder, listing_token, names_in, read_file
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.file_watch import FolderWatch
from py_code_mode.store.names import is_tool_name, tool_name, tool_not_found

_SUFFIXES = (".yaml", ".yml")
_log = logging.getLogger(__name__)


class FileTools:
    """The definitions in one folder. A file that cannot be read never hides the others."""

    def __init__(self, root: FileRoot) -> None:
        self._root = root
        self._folder = root.under("tools")
        self._watch = FolderWatch(self._folder)

    async def add(self, name: str, text: str) -> None:
        """Save or replace ``name``, in the file it already has if that ends in ``.yml``.

        Raises:
            InvalidArgumentError: for a name that cannot be a file name.
            StorageFullError, StorageUnavailableError: from the disk.
        """
        await asyncio.to_thread(self._add, tool_name(name), text)

    async def get(self, name: str) -> str:
        """Return the text of ``name``. Raises ToolNotFoundError; ToolError if it is no text."""
        return await asyncio.to_thread(self._get, name)

    async def list(self) -> dict[str, str]:
        """Return every definition that can be read, ordered by name."""
        return await asyncio.to_thread(self._list)

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises ToolNotFoundError."""
        await asyncio.to_thread(self._remove, name)

    async def revision(self) -> str:
        """Return a token of the names, sizes and times of the files."""
        known = self._watch.unchanged()
        return known if known is not None else await asyncio.to_thread(self._revision)

    def _add(self, name: str, text: str) -> None:
        content = _encoded(name, text)
        with (
            disk_errors(self._folder),
            self._root.draft(content) as draft,
            self._root.exclusive(),
            self._root.made(self._folder) as opened,
        ):
            draft.place(opened, self._files().get(name, f"{name}.yaml"))

    def _get(self, name: str) -> str:
        with disk_errors(self._folder):
            files = self._files()
            if name not in files:
                raise tool_not_found(name, files)
            try:
                with folder(self._folder) as opened:
                    return _read(opened, files[name])
            except FileNotFoundError:
                raise tool_not_found(name, files) from None

    def _list(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        with disk_errors(self._folder):
            files = self._files()
            if not files:
                return texts
            with folder(self._folder) as opened:
                for name, file in sorted(files.items()):
                    try:
                        texts[name] = _read(opened, file)
                    except (OSError, ToolError) as error:
                        _log.warning("tool file passed over: %s/%s: %s", self._folder, file, error)
        return texts

    def _remove(self, name: str) -> None:
        with disk_errors(self._folder):
            if name not in self._files():
                raise tool_not_found(name, self._files())
            with self._root.exclusive(), folder(self._folder) as opened:
                gone = False
                for file in [f"{name}{suffix}" for suffix in _SUFFIXES]:
                    try:
                        os.unlink(file, dir_fd=opened)
                        gone = True
                    except FileNotFoundError:
                        continue
            if not gone:  # another process was faster
                raise tool_not_found(name, self._files())

    def _revision(self) -> str:
        with disk_errors(self._folder):
            return self._watch.see(lambda: listing_token(self._folder, _SUFFIXES))

    def _files(self) -> dict[str, str]:
        """Return file names by tool name; ``x.yaml`` wins over ``x.yml``."""
        found: dict[str, str] = {}
        for file in names_in(self._folder):  # in order, so that .yaml comes before .yml
            stem, suffix = os.path.splitext(file)
            if suffix in _SUFFIXES and is_tool_name(stem):
                found.setdefault(stem, file)
        return found


def _read(within: int, file: str) -> str:
    try:
        return read_file(within, file)[0].decode("utf-8-sig")
    except NotAFileError as error:
        raise ToolError(f"tools/{file} is not a regular file; links are not followed") from error
    except UnicodeDecodeError as error:
        raise ToolError(f"tools/{file} is not UTF-8 text: {error}") from error


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"tool {name!r} cannot be stored as UTF-8: {error}") from error
