"""A mounted folder of an operator's ``tools/*.yaml`` and ``skills/*.py``, which is only read.

Kubernetes mounts a ConfigMap as links that lead through ``..data`` to a folder with a date for a
name, and changes it by moving ``..data``. Links are followed, then, as long as they stay inside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from py_code_mode.errors import ConfigurationError
from py_code_mode.store.base import StoredSkill
from py_code_mode.store.file_errors import NotAFileError
from py_code_mode.store.file_folders import folder, identity, read_file
from py_code_mode.store.names import is_skill_name, is_tool_name, utc_text

#: The origin, and the author, of what is in the folder.
ORIGIN = "config"
#: How late a change of the folder may be noticed.
_LOOK_EVERY_S = 1.0
_TOOLS = ("tools", (".yaml", ".yml"))
_SKILLS = ("skills", (".py",))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contents:
    """What the folder holds: tool texts and skills by name, and a token of them all."""

    tools: dict[str, str]
    skills: dict[str, StoredSkill]
    revision: str


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    shown: str
    text: str
    changed_at: float


class ConfigFolder:
    """The folder at ``path``, read at once and again whenever it has changed.

    A file that cannot be used is passed over and told in the log; it never hides the others.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the folder. Raises ConfigurationError where it is none."""
        self.path = check_config_folder(path)
        self._told: set[str] = set()
        self._token = ""
        self._contents = Contents({}, {}, "")
        self._look()
        self._looked_at = time.monotonic()

    def contents(self) -> Contents:
        """Return what was there at the last look; a new look holds nobody up."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            asyncio.get_running_loop().run_in_executor(None, self._look)
        return self._contents

    def _look(self) -> None:
        try:
            os.stat(self.path)
            paths = [*self._paths(*_TOOLS), *self._paths(*_SKILLS)]
            token = _token(paths)
            if token != self._token:
                self._contents = self._read(token)
                self._token = token
        except OSError as error:  # what is known stays in force
            self._tell(f"cannot be read now: {error.strerror or error}")

    def _read(self, token: str) -> Contents:
        tools: dict[str, str] = {}
        for file in self._files(*_TOOLS):
            if is_tool_name(file.name):
                tools.setdefault(file.name, file.text)  # x.yaml comes before x.yml
            else:
                self._tell(f"{file.shown} is passed over: its name is none of a tool")
        skills: dict[str, StoredSkill] = {}
        for file in self._files(*_SKILLS):
            if is_skill_name(file.name):
                skills[file.name] = _skill(file)
            else:
                self._tell(f"{file.shown} is passed over: its name is none of a skill")
        return Contents(tools, skills, token)

    def _paths(self, below: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Yield name and resolved path of each file, in order; those outside are refused."""
        top = os.path.realpath(self.path)
        try:
            names = sorted(os.listdir(os.path.join(self.path, below)))
        except FileNotFoundError:
            return
        for name in names:
            if name.startswith(".") or not name.endswith(suffixes):
                continue
            resolved = os.path.realpath(os.path.join(self.path, below, name))
            if os.path.commonpath([top, resolved]) == top:
                yield f"{below}/{name}", resolved
            else:
                self._tell(f"{below}/{name} is refused: it is a link that leads outside")

    def _files(self, below: str, suffixes: tuple[str, ...]) -> Iterator[_File]:
        for shown, path in self._paths(below, suffixes):
            try:
                with folder(os.path.dirname(path)) as opened:
                    content, status = read_file(opened, os.path.basename(path))
                text = content.decode("utf-8-sig")
            except NotAFileError:
                self._tell(f"{shown} is passed over: it is no regular file")
            except UnicodeDecodeError as error:
                self._tell(f"{shown} is passed over: it is not UTF-8 text: {error}")
            except OSError as error:
                self._tell(f"{shown} is passed over: {error.strerror or error}")
            else:
                name = os.path.splitext(os.path.basename(shown))[0]
                yield _File(name, shown, text, status.st_mtime)

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning("CONFIG_PATH %s: %s", self.path, what)


def check_config_folder(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder. Raises ConfigurationError where it is none."""
    absolute = os.path.abspath(os.fspath(path))
    if not os.path.isdir(absolute):
        raise ConfigurationError(
            f"CONFIG_PATH: {absolute} is no folder; mount one with tools/ and skills/ there"
        )
    return absolute


def _token(paths: list[tuple[str, str]]) -> str:
    """Return a token that differs once a file came, went or changed."""
    seen = blake2b(digest_size=16)
    for name, path in paths:
        try:
            state: object = identity(os.stat(path))
        except OSError as error:
            state = error.errno
        seen.update(repr((name, path, state)).encode("utf-8", "replace"))
    return seen.hexdigest()


def _skill(file: _File) -> StoredSkill:
    return StoredSkill(
        name=file.name,
        source=file.text,
        description="",
        version=1,
        author=ORIGIN,
        origin=ORIGIN,
        created_at=utc_text(file.changed_at),
    )
