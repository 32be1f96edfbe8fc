"""Skills as ``skills/<name>.py``, their versions and records under ``.state/skills``.

Every version's source is kept as ``.state/skills/<name>/<version>.py``, and the records of all
of them in ``.state/skills/<name>.json``. A writer writes the version, then the records, then the
current source; a reader takes no lock and finds the record by the source it has read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from py_code_mode.errors import InvalidSkillError, StorageUnavailableError
from py_code_mode.store.base import StoredSkill
from py_code_mode.store.file_errors import NotAFileError, disk_errors
from py_code_mode.store.file_folders import folder, identity, listing_token, names_in, read_file
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.file_skill_history import SkillHistory, SkillVersion, digest
from py_code_mode.store.file_watch import FolderWatch
from py_code_mode.store.names import (
    STATE_FOLDER,
    check_removable,
    check_replaceable,
    is_skill_name,
    skill_name,
    skill_not_found,
    utc_text,
)

#: How often a reader starts again when writers are faster; each attempt takes microseconds.
READ_ATTEMPTS = 100
#: An alias, because the class below has a method named list.
Skills = list[StoredSkill]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Live:
    """The current source of a skill with its record."""

    record: SkillVersion
    source: bytes
    history: SkillHistory


class FileSkills:
    """The skills in one folder. A source that a person wrote or edited has origin ``config``."""

    def __init__(self, root: FileRoot) -> None:
        self._root = root
        self._folder = root.under("skills")
        self._watch = FolderWatch(self._folder)
        self._state = root.under(STATE_FOLDER, "skills")

    async def add(
        self,
        name: str,
        source: str,
        *,
        description: str = "",
        author: str = "",
        origin: str = "bootstrap",
        overwrite: bool = False,
        replaceable: frozenset[str] | None = None,
    ) -> StoredSkill:
        """Save a new skill or version; a source edited by hand is kept as a version too.

        Raises:
            SkillExistsError, SkillProtectedError: as the protocol says.
            InvalidSkillError: for an impossible name or source, or a link in the file's place.
            StorageFullError, StorageUnavailableError: from the disk.
        """
        content = _encoded(skill_name(name), source)
        record = SkillVersion(1, description, author, origin, "", digest(content), 0)

        def check(current: SkillVersion) -> None:
            skill = current.with_source(name, "")
            check_replaceable(skill, overwrite=overwrite, replaceable=replaceable)

        saved = await asyncio.to_thread(self._add, name, content, record, check)
        return saved.with_source(name, source)

    async def get(self, name: str, version: int | None = None) -> StoredSkill:
        """Return the current (or the given) version.

        Raises:
            SkillNotFoundError: as the protocol says.
            InvalidSkillError: if the file is not UTF-8 text or not a regular file.
        """
        return await asyncio.to_thread(self._get, name, version)

    async def list(self) -> list[StoredSkill]:
        """Return every skill that can be read, ordered by name; the log names the others."""
        return await asyncio.to_thread(self._list)

    async def remove(self, name: str, *, removable: frozenset[str] | None = None) -> None:
        """Remove ``name`` and its versions. Raises SkillNotFoundError, SkillProtectedError."""
        await asyncio.to_thread(self._remove, name, removable)

    async def revision(self) -> str:
        """Return a token of the names, sizes and times of the sources."""
        known = self._watch.unchanged()
        return known if known is not None else await asyncio.to_thread(self._revision)

    def _add(
        self, name: str, content: bytes, new: SkillVersion, check: Callable[[SkillVersion], None]
    ) -> SkillVersion:
        with (
            disk_errors(self._folder),
            self._root.draft(content) as draft,
            self._root.exclusive(),
            self._root.made(self._folder) as opened,
        ):
            new = replace(new, created_at=utc_text(), mtime_ns=draft.mtime_ns)
            live = self._live(opened, name)
            history = SkillHistory((new,))
            sources = {f"{new.version}.py": content}
            if live is not None:
                check(live.record)
                new = replace(new, version=live.record.version + 1)
                history = live.history.followed_by(live.record, new)
                # The current one too: where a person wrote it, this is its only copy.
                sources = {f"{live.record.version}.py": live.source, f"{new.version}.py": content}
            for file, source in sources.items():
                self._root.save(os.path.join(self._state, name), file, source)
            self._root.save(self._state, f"{name}.json", history.text())
            draft.place(opened, f"{name}.py")
            self._prune(name, history)
        return new

    def _get(self, name: str, version: int | None) -> StoredSkill:
        with disk_errors(self._folder):
            live = self._find(name)
            if live is None:
                raise skill_not_found(name, self._names())
            if version is None or version == live.record.version:
                return _decoded(name, live.record, live.source)
            older = live.history.before(live.record.version)
            record = older.get(version)
            if record is not None:
                source = self._root.load(os.path.join(self._state, name), f"{version}.py")
                if digest(source) == record.digest:
                    return _decoded(name, record, source)
            raise skill_not_found(name, [name], version, [*older, live.record.version])

    def _list(self) -> Skills:
        found: Skills = []
        with disk_errors(self._folder), suppress(FileNotFoundError), folder(self._folder) as opened:
            for name in self._names():
                try:
                    live = self._live(opened, name)
                    if live is not None:
                        found.append(_decoded(name, live.record, live.source))
                except (OSError, InvalidSkillError) as error:
                    _log.warning("skill passed over: %s/%s.py: %s", self._folder, name, error)
        return found

    def _remove(self, name: str, removable: frozenset[str] | None) -> None:
        with disk_errors(self._folder):
            if self._find(name) is None:
                raise skill_not_found(name, self._names())
            with self._root.exclusive(), folder(self._folder) as opened:
                live = self._live(opened, name)
                if live is None:  # another process was faster
                    raise skill_not_found(name, self._names())
                check_removable(live.record.with_source(name, ""), removable)
                os.unlink(f"{name}.py", dir_fd=opened)
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._state, f"{name}.json"))
                    shutil.rmtree(os.path.join(self._state, name))

    def _revision(self) -> str:
        with disk_errors(self._folder):
            return self._watch.see(lambda: listing_token(self._folder, (".py",)))

    def _names(self) -> tuple[str, ...]:
        files = (file for file in names_in(self._folder) if file.endswith(".py"))
        return tuple(sorted(filter(is_skill_name, (file[:-3] for file in files))))

    def _find(self, name: str) -> _Live | None:
        if not is_skill_name(name):
            return None
        try:
            with folder(self._folder) as opened:
                return self._live(opened, name)
        except FileNotFoundError:
            return None

    def _live(self, opened: int, name: str) -> _Live | None:
        """Return source and record that belong together, whatever writers do meanwhile."""
        before = None
        for _ in range(READ_ATTEMPTS):
            try:
                source, status = read_file(opened, f"{name}.py")
            except FileNotFoundError:
                return None
            except NotAFileError as error:
                raise InvalidSkillError(
                    f"skills/{name}.py is not a regular file; links are not followed"
                ) from error
            text = self._root.load(self._state, f"{name}.json")
            history = SkillHistory.parse(text, os.path.join(self._state, f"{name}.json"))
            record = history.recorded(source, status.st_mtime_ns)
            if record is not None:
                return _Live(record, source, history)
            # Not recorded: a writer ran between the two reads, unless they say the same again.
            seen = (identity(status), text)
            if seen == before:
                return _Live(history.by_hand(source, status.st_mtime_ns), source, history)
            before = seen
        raise StorageUnavailableError(f"skills/{name}.py changes too fast to be read; try again")

    def _prune(self, name: str, history: SkillHistory) -> None:
        kept = {f"{record.version}.py" for record in history.versions}
        for file in names_in(os.path.join(self._state, name)):
            if file not in kept:
                os.unlink(os.path.join(self._state, name, file))


def _decoded(name: str, record: SkillVersion, content: bytes) -> StoredSkill:
    try:
        return record.with_source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidSkillError(f"skills/{name}.py is not UTF-8 text: {error}") from error


def _encoded(name: str, source: str) -> bytes:
    try:
        return source.encode()
    except UnicodeEncodeError as error:
        raise InvalidSkillError(f"skill {name!r} cannot be stored as UTF-8: {error}") from error
