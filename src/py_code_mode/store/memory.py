"""The storage that lives in this process alone: for tests, and for sessions that keep nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from py_code_mode.store.base import KEPT_VERSIONS, StoredSkill
from py_code_mode.store.memory_artifacts import MemoryArtifacts
from py_code_mode.store.memory_records import MemoryRecords
from py_code_mode.store.names import (
    check_removable,
    check_replaceable,
    dep_spec,
    skill_name,
    skill_not_found,
    tool_name,
    tool_not_found,
    utc_text,
)
from py_code_mode.store.vector_space import LOCK_WAIT_S, VectorSpace, still_being_made

_LOCK_PAUSE_S = 0.005


class MemoryStorage:
    """A storage without a disk; everything is gone with the object. Safe to share by threads."""

    def __init__(self) -> None:
        self.tools = MemoryTools()
        self.skills = MemorySkills()
        self.artifacts = MemoryArtifacts()
        self.deps = MemoryDeps()
        self.vectors = MemoryVectors()
        self.records = MemoryRecords()
        self.resolutions = None

    def describe(self) -> str:
        """Return where it lives."""
        return "memory of this process"

    async def check(self) -> None:
        """Do nothing: memory always answers."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release, and what was stored stays."""


class MemoryTools:
    """Tool definitions in a dictionary."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._changes = 0
        self._lock = threading.Lock()

    async def add(self, name: str, text: str) -> None:
        """Save or replace the definition ``name``."""
        with self._lock:
            self._texts[tool_name(name)] = text
            self._changes += 1

    async def get(self, name: str) -> str:
        """Return the text of ``name``. Raises ToolNotFoundError."""
        with self._lock:
            if name not in self._texts:
                raise tool_not_found(name, self._texts)
            return self._texts[name]

    async def list(self) -> dict[str, str]:
        """Return every definition, ordered by name."""
        with self._lock:
            return dict(sorted(self._texts.items()))

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises ToolNotFoundError."""
        with self._lock:
            if name not in self._texts:
                raise tool_not_found(name, self._texts)
            del self._texts[name]
            self._changes += 1

    async def revision(self) -> str:
        """Return the number of changes so far."""
        return str(self._changes)


class MemorySkills:
    """Skills in a dictionary: the kept versions of each, oldest first."""

    def __init__(self) -> None:
        self._versions: dict[str, list[StoredSkill]] = {}
        self._changes = 0
        self._lock = threading.Lock()

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
        """Save a new skill or version. Raises as the protocol says, and InvalidSkillError."""
        skill_name(name)
        with self._lock:
            versions = self._versions.get(name, [])
            if versions:
                check_replaceable(versions[-1], overwrite=overwrite, replaceable=replaceable)
            number = versions[-1].version + 1 if versions else 1
            skill = StoredSkill(name, source, description, number, author, origin, utc_text())
            self._versions[name] = [*versions, skill][-KEPT_VERSIONS:]
            self._changes += 1
            return skill

    async def get(self, name: str, version: int | None = None) -> StoredSkill:
        """Return the current (or the given) version. Raises SkillNotFoundError."""
        with self._lock:
            kept = {skill.version: skill for skill in self._versions.get(name, [])}
            number = max(kept, default=0) if version is None else version
            if number not in kept:
                raise skill_not_found(name, self._versions, version, kept)
            return kept[number]

    async def list(self) -> list[StoredSkill]:
        """Return the current version of every skill, ordered by name."""
        with self._lock:
            return [versions[-1] for _, versions in sorted(self._versions.items())]

    async def remove(self, name: str, *, removable: frozenset[str] | None = None) -> None:
        """Remove ``name`` and its versions. Raises SkillNotFoundError, SkillProtectedError."""
        with self._lock:
            if name not in self._versions:
                raise skill_not_found(name, self._versions)
            check_removable(self._versions[name][-1], removable)
            del self._versions[name]
            self._changes += 1

    async def revision(self) -> str:
        """Return the number of changes so far."""
        return str(self._changes)


class MemoryDeps:
    """Package specs in a set."""

    def __init__(self) -> None:
        self._specs: set[str] = set()

    async def add(self, *specs: str) -> None:
        """Add specs; adding one that is there changes nothing. Raises InvalidDepError."""
        self._specs |= {dep_spec(spec) for spec in specs}

    async def list(self) -> list[str]:
        """Return the specs, sorted."""
        return sorted(self._specs)

    async def remove(self, *specs: str) -> None:
        """Remove exactly these strings; absent ones change nothing."""
        self._specs -= set(specs)


class MemoryVectors:
    """Vectors in one dictionary for each space."""

    def __init__(self) -> None:
        self._spaces: dict[VectorSpace, dict[bytes, bytes]] = {}
        self._taken: set[VectorSpace] = set()
        self._lock = threading.Lock()

    async def load(self, space: VectorSpace) -> dict[bytes, bytes]:
        """Return every vector of a space."""
        with self._lock:
            return dict(self._spaces.get(space, {}))

    async def get_many(self, space: VectorSpace, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the vectors of these hashes, those that exist."""
        with self._lock:
            known = self._spaces.get(space, {})
            return {key: known[key] for key in keys if key in known}

    async def put_many(self, space: VectorSpace, vectors: Mapping[bytes, bytes]) -> None:
        """Save vectors."""
        with self._lock:
            self._spaces.setdefault(space, {}).update(vectors)

    async def remove(self, space: VectorSpace, keys: Collection[bytes]) -> None:
        """Remove the vectors of these hashes; absent ones change nothing."""
        with self._lock:
            for key in keys:
                self._spaces.get(space, {}).pop(key, None)

    @asynccontextmanager
    async def lock(self, space: VectorSpace) -> AsyncIterator[None]:
        """Keep others of this process out, of any event loop. Raises SearchUnavailableError."""
        end = time.monotonic() + LOCK_WAIT_S
        while not self._take(space):
            if time.monotonic() > end:
                raise still_being_made(space)
            await asyncio.sleep(_LOCK_PAUSE_S)
        try:
            yield
        finally:
            with self._lock:
                self._taken.discard(space)

    def _take(self, space: VectorSpace) -> bool:
        with self._lock:
            free = space not in self._taken
            self._taken.add(space)
            return free
