"""Package specs as the lines of ``requirements.txt``; comments and blank lines stay on edit."""

from __future__ import annotations

import asyncio
import re

from py_code_mode.errors import InvalidDepError
from py_code_mode.store.file_errors import NotAFileError, disk_errors
from py_code_mode.store.file_folders import folder, read_file
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.names import dep_spec

_FILE = "requirements.txt"
#: Lines with their ends; an alias, because the class below has a method named list.
Lines = list[str]

_COMMENT = re.compile(r"(^|\s)#.*$")


class FileDeps:
    """The specs of one file, one per line."""

    def __init__(self, root: FileRoot) -> None:
        self._root = root
        self._path = root.under(_FILE)

    async def add(self, *specs: str) -> None:
        """Add specs at the end; adding one that is there changes nothing. InvalidDepError."""
        await asyncio.to_thread(self._add, [dep_spec(spec) for spec in specs])

    async def list(self) -> list[str]:
        """Return the specs, sorted, without comments. Raises InvalidDepError if no UTF-8."""
        return await asyncio.to_thread(self._list)

    async def remove(self, *specs: str) -> None:
        """Remove the lines of exactly these specs; absent ones change nothing."""
        await asyncio.to_thread(self._remove, frozenset(specs))

    def _add(self, specs: Lines) -> None:
        with disk_errors(self._path), self._root.exclusive():
            lines = self._lines()
            there = set(map(_spec, lines))
            new = [spec for spec in dict.fromkeys(specs) if spec not in there]
            if not new:
                return
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            self._write([*lines, *(f"{spec}\n" for spec in new)])

    def _list(self) -> Lines:
        with disk_errors(self._path):
            return sorted(set(filter(None, map(_spec, self._lines()))))

    def _remove(self, specs: frozenset[str]) -> None:
        with disk_errors(self._path), self._root.exclusive():
            lines = self._lines()
            kept = [line for line in lines if not _spec(line) or _spec(line) not in specs]
            if len(kept) < len(lines):
                self._write(kept)

    def _lines(self) -> Lines:
        try:
            with folder(self._root.path) as opened:
                text = read_file(opened, _FILE)[0].decode("utf-8-sig")
        except FileNotFoundError:
            return []
        except NotAFileError as error:
            raise InvalidDepError(
                f"{self._path} is not a regular file; links are not followed"
            ) from error
        except UnicodeDecodeError as error:
            raise InvalidDepError(f"{self._path} is not UTF-8 text: {error}") from error
        # Not str.splitlines, which would also break lines at form feeds and the like.
        return re.findall(r"[^\n]*\n|[^\n]+", text)

    def _write(self, lines: Lines) -> None:
        content = "".join(lines).encode()
        with self._root.draft(content) as draft, folder(self._root.path) as opened:
            draft.place(opened, _FILE)


def _spec(line: str) -> str:
    return _COMMENT.sub("", line).strip()
