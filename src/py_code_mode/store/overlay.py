"""A store seen through a folder of the operator's: what the folder has wins, and stays as it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from py_code_mode.errors import SkillProtectedError, ToolError
from py_code_mode.store.base import (
    ArtifactStore,
    DepStore,
    RecordStore,
    Resolutions,
    SkillStore,
    Store,
    StoredSkill,
    ToolStore,
    VectorStore,
)
from py_code_mode.store.config_folder import ConfigFolder
from py_code_mode.store.names import skill_not_found

#: The name that a tool's text gives; it is what agents call the tool, whatever its file is called.
_DECLARED = re.compile(r"""^["']?name["']?[ \t]*:[ \t]*["']?([\w-]+)""", re.MULTILINE)

# Annotations below a method called ``list`` need another name for the type.
_Skills = list[StoredSkill]


class OverlayStorage:
    """``store`` with the tools and skills of ``config_folder`` merged in, in front of its own.

    They have the origin ``config``. Nobody who uses this storage can replace or remove them; what
    the store has under such a name is hidden for as long as the folder has it.

    Raises:
        ConfigurationError: there is no such folder.
    """

    def __init__(self, store: Store, config_folder: str | os.PathLike[str]) -> None:
        self._store = store
        self._folder = ConfigFolder(config_folder)
        self.tools: ToolStore = _OverlaidTools(store.tools, self._folder)
        self.skills: SkillStore = _OverlaidSkills(store.skills, self._folder)

    @property
    def artifacts(self) -> ArtifactStore:
        """Those of the store."""
        return self._store.artifacts

    @property
    def deps(self) -> DepStore:
        """Those of the store."""
        return self._store.deps

    @property
    def vectors(self) -> VectorStore:
        """Those of the store."""
        return self._store.vectors

    @property
    def records(self) -> RecordStore:
        """Those of the store."""
        return self._store.records

    @property
    def resolutions(self) -> Resolutions | None:
        """Those of the store."""
        return self._store.resolutions

    def describe(self) -> str:
        """Return where it lives, like ``Redis at localhost:6379 … and files at /config``."""
        return f"{self._store.describe()} and files at {self._folder.path}"

    async def check(self) -> None:
        """Raise StorageUnavailableError, saying why, unless the store answers."""
        await self._store.check()

    async def aclose(self) -> None:
        """Release the store's connections."""
        await self._store.aclose()


@dataclass(frozen=True, slots=True)
class _OverlaidTools:
    store: ToolStore
    folder: ConfigFolder

    async def add(self, name: str, text: str) -> None:
        self._check(name)
        await self.store.add(name, text)

    async def get(self, name: str) -> str:
        own = self.folder.contents().tools.get(name)
        return await self.store.get(name) if own is None else own

    async def list(self) -> dict[str, str]:
        own = self.folder.contents().tools
        taken = {each for name, text in own.items() for each in _names(name, text)}
        others = await self.store.list()
        merged = {n: text for n, text in others.items() if taken.isdisjoint(_names(n, text))}
        return dict(sorted({**merged, **own}.items()))

    async def remove(self, name: str) -> None:
        self._check(name)
        await self.store.remove(name)

    async def revision(self) -> str:
        return f"{self.folder.contents().revision}+{await self.store.revision()}"

    def _check(self, name: str) -> None:
        if name in self.folder.contents().tools:
            raise ToolError(
                f"tool {name!r} was provided by the operator in CONFIG_PATH and cannot be changed "
                "here; change its file, or choose another name"
            )


@dataclass(frozen=True, slots=True)
class _OverlaidSkills:
    store: SkillStore
    folder: ConfigFolder

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
        self._check(name, "overwritten here; create one with another name")
        return await self.store.add(
            name,
            source,
            description=description,
            author=author,
            origin=origin,
            overwrite=overwrite,
            replaceable=replaceable,
        )

    async def get(self, name: str, version: int | None = None) -> StoredSkill:
        own = self.folder.contents().skills
        if name not in own:
            return await self.store.get(name, version)
        if version not in {None, own[name].version}:
            raise skill_not_found(name, own, version, [own[name].version])
        return own[name]

    async def list(self) -> _Skills:
        own = self.folder.contents().skills
        others = {stored.name: stored for stored in await self.store.list()}
        return [skill for _, skill in sorted({**others, **own}.items())]

    async def remove(self, name: str, *, removable: frozenset[str] | None = None) -> None:
        self._check(name, "deleted here")
        await self.store.remove(name, removable=removable)

    async def revision(self) -> str:
        return f"{self.folder.contents().revision}+{await self.store.revision()}"

    def _check(self, name: str, what: str) -> None:
        if name in self.folder.contents().skills:
            raise SkillProtectedError(
                f"skill {name!r} was provided by the operator in CONFIG_PATH and cannot be {what}",
                name=name,
            )


def _names(file: str, text: str) -> set[str]:
    """Return what a tool is known by: its file's name, and the one that its text gives."""
    declared = _DECLARED.search(text)
    return {name.replace("-", "_") for name in (file, declared[1] if declared else file)}
