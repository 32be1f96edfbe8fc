"""Where items go: a Redis, in one step, or a storage folder, one file after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from py_code_mode.bootstrap.checking import normal_spec
from py_code_mode.bootstrap.folders import REQUIREMENTS, read_folder
from py_code_mode.bootstrap.items import Item, Kind
from py_code_mode.bootstrap.prefixes import storage_prefix
from py_code_mode.errors import ConfigurationError
from py_code_mode.store.base import StoredSkill
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis_extra import redis_storage

if TYPE_CHECKING:
    from py_code_mode.store.redis import RedisStorage


_ADDRESS = re.compile("[:@=]")
_PATH = re.compile(r"\.{0,2}/|[A-Za-z]:[\\/]")


class Place(Protocol):
    """A collection of one kind in a store."""

    kind: Kind

    @property
    def shown(self) -> str:
        """Where it is, without a secret."""

    async def all(self) -> list[Item]:
        """Return every item, ordered by name."""

    async def some(self, names: Iterable[str]) -> list[Item]:
        """Return the items of these names, those that exist; it may return more."""

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        """Save items, replacing those of the same name, and remove others."""


class Target:
    """A store at a Redis URL or in a folder; ``place`` gives its collections."""

    def __init__(self, storage: RedisStorage | FileStorage, folder: Path | None) -> None:
        self._storage = storage
        self._folder = folder

    def place(self, kind: Kind) -> Place:
        """Return the collection of ``kind``."""
        if isinstance(self._storage, FileStorage):
            return _FOLDERS[kind](self._storage, self._folder or Path())
        return _REDIS[kind](self._storage)

    async def aclose(self) -> None:
        """Release connections."""
        await self._storage.aclose()


def open_target(where: str, kind: Kind, *, prefix: str, allow_insecure: bool = False) -> Target:
    """Return the store of which ``prefix`` names the storage, or the collection of ``kind``.

    A folder is a storage, as ``--base`` names it, or the folder of this kind in one.

    Raises:
        ConfigurationError: for a URL or a prefix that cannot be used.
    """
    if not is_url(where):
        path = folder_of(where)
        folder = path.parent if path.name == kind else path
        return Target(FileStorage(folder), folder)
    storage = redis_storage()
    whole = storage_prefix(prefix, kind)
    return Target(storage(where, prefix=whole, allow_insecure=allow_insecure), None)


def is_url(where: str) -> bool:
    """Tell a Redis from a folder."""
    return "://" in where


def folder_of(where: str) -> Path:
    """Return the path of a folder, which need not exist.

    Raises:
        ConfigurationError: for what may be the address of a Redis, which is not repeated: as a
            folder it would be made, and named like a password.
    """
    path = Path(where)
    if is_url(where) or (_ADDRESS.search(where) and not _PATH.match(where) and not path.exists()):
        raise ConfigurationError(
            "a folder is needed, or a Redis URL, which begins with redis://, rediss:// or unix://; "
            "begin the name of a folder that has ':', '@' or '=' with './'"
        )
    return path


class _Redis:
    kind: Kind

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage

    @property
    def shown(self) -> str:
        return f"{self._storage.describe()} ({self.kind})"

    def _file(self, name: str) -> str:
        return f"{self._storage.prefix}:{self.kind}:{name}"


class _RedisTools(_Redis):
    kind: Kind = "tools"

    async def all(self) -> list[Item]:
        return self._items(await self._storage.tools.list())

    async def some(self, names: Iterable[str]) -> list[Item]:
        return self._items(await self._storage.tools.current(names))

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        texts = {item.name: item.text for item in save}
        await self._storage.tools.replace(texts, remove=[item.name for item in remove])

    def _items(self, texts: Mapping[str, str]) -> list[Item]:
        return [Item(name, text, file=self._file(name)) for name, text in texts.items()]


class _RedisSkills(_Redis):
    kind: Kind = "skills"

    async def all(self) -> list[Item]:
        return self._items(await self._storage.skills.list())

    async def some(self, names: Iterable[str]) -> list[Item]:
        return self._items((await self._storage.skills.current(names)).values())

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        texts = [(item.name, item.text, item.description) for item in save]
        await self._storage.skills.overwrite(texts, remove=[item.name for item in remove])

    def _items(self, skills: Iterable[StoredSkill]) -> list[Item]:
        return [_of_skill(skill, self._file(skill.name)) for skill in skills]


class _RedisDeps(_Redis):
    kind: Kind = "deps"

    async def all(self) -> list[Item]:
        return _of_specs(await self._storage.deps.list(), self._file("")[:-1])

    async def some(self, names: Iterable[str]) -> list[Item]:
        return await self.all()

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        gone = _replaced(await self._storage.deps.list(), save, remove)
        await self._storage.deps.replace([item.text for item in save], remove=gone)


class _Folder:
    kind: Kind

    def __init__(self, storage: FileStorage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder

    @property
    def shown(self) -> str:
        return f"{self._storage.describe()} ({self.kind})"

    async def some(self, names: Iterable[str]) -> list[Item]:
        return await self.all()

    async def all(self) -> list[Item]:
        raise NotImplementedError


class _FolderTools(_Folder):
    kind: Kind = "tools"

    async def all(self) -> list[Item]:
        within = self._folder / self.kind
        return read_folder(within, self.kind) if within.is_dir() else []

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        for item in save:
            await self._storage.tools.add(item.name, item.text)
        for item in remove:
            await self._storage.tools.remove(item.name)


class _FolderSkills(_Folder):
    kind: Kind = "skills"

    async def all(self) -> list[Item]:
        within = self._folder / self.kind
        skills = await self._storage.skills.list()
        return [_of_skill(skill, f"{within / skill.name}.py") for skill in skills]

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        skills = self._storage.skills
        for item in save:
            await skills.add(item.name, item.text, description=item.description, overwrite=True)
        for item in remove:
            await skills.remove(item.name)


class _FolderDeps(_Folder):
    kind: Kind = "deps"

    async def all(self) -> list[Item]:
        return _of_specs(await self._storage.deps.list(), str(self._folder / REQUIREMENTS))

    async def change(self, save: Sequence[Item], remove: Sequence[Item]) -> None:
        gone = _replaced(await self._storage.deps.list(), save, remove)
        await self._storage.deps.add(*(item.text for item in save))
        await self._storage.deps.remove(*gone)


_REDIS: Mapping[Kind, Callable[[RedisStorage], Place]] = {
    "tools": _RedisTools,
    "skills": _RedisSkills,
    "deps": _RedisDeps,
}
_FOLDERS: Mapping[Kind, Callable[[FileStorage, Path], Place]] = {
    "tools": _FolderTools,
    "skills": _FolderSkills,
    "deps": _FolderDeps,
}


def _of_skill(skill: StoredSkill, file: str) -> Item:
    return Item(skill.name, skill.source, skill.description, file=file, origin=skill.origin)


def _of_specs(specs: Iterable[str], file: str) -> list[Item]:
    return [Item(*normal_spec(spec), file=file) for spec in specs]


def _replaced(old: Iterable[str], save: Sequence[Item], remove: Sequence[Item]) -> list[str]:
    """Return the stored specs of these packages, but those that are saved as they are."""
    names = {item.name for item in (*save, *remove)}
    kept = {item.text for item in save}
    return [spec for spec in old if normal_spec(spec)[0] in names and spec not in kept]
