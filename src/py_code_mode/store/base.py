"""The store protocol: where tools, skills, artifacts and package specs live.

A storage has four collections with awaitable ``add``, ``get``, ``list`` and ``remove``. They hold
data and know nothing of who asks: permissions, parsing and type rules are the services' business.
Beside them it keeps the vectors that searches go by. Every back end passes ``tests/contract``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from py_code_mode.store.vector_space import VectorSpace

#: How many versions of a skill are kept.
KEPT_VERSIONS = 20


@dataclass(frozen=True, slots=True)
class StoredSkill:
    """One version of a skill as stored. ``created_at`` is ISO 8601 in UTC (of this version)."""

    name: str
    source: str
    description: str
    version: int
    author: str
    origin: str
    created_at: str


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact's record; ``size`` in bytes, ``created_at`` ISO 8601 in UTC (of this body)."""

    name: str
    media_type: str
    size: int
    description: str
    created_at: str
    metadata: dict[str, Any] = field(default_factory=dict)


#: An artifact that is open: its record, and its body in pieces.
OpenArtifact = tuple[StoredArtifact, AsyncIterator[bytes]]


class ToolStore(Protocol):
    """Tool definitions: YAML text by tool name. Parsing is not the store's business."""

    async def add(self, name: str, text: str) -> None:
        """Save or replace the definition ``name``."""

    async def get(self, name: str) -> str:
        """Return the text of ``name``. Raises ToolNotFoundError."""

    async def list(self) -> dict[str, str]:
        """Return every definition, ordered by name."""

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises ToolNotFoundError."""

    async def revision(self) -> str:
        """Return a token that differs whenever the collection has changed; cheap to ask."""


class SkillStore(Protocol):
    """Skills by name, with their last KEPT_VERSIONS versions."""

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
        """Save a new skill or, with ``overwrite``, a new version; returns what was stored.

        Of many concurrent creators of one name exactly one wins. ``replaceable`` are the origins
        of a current version that may be overwritten (None: any), checked in the same atomic step.
        Raises SkillExistsError, SkillProtectedError.
        """

    async def get(self, name: str, version: int | None = None) -> StoredSkill:
        """Return the current (or the given) version. Raises SkillNotFoundError."""

    async def list(self) -> list[StoredSkill]:
        """Return the current version of every skill, ordered by name."""

    async def remove(self, name: str, *, removable: frozenset[str] | None = None) -> None:
        """Remove ``name`` and its versions. Raises SkillNotFoundError, SkillProtectedError."""

    async def revision(self) -> str:
        """Return a token that differs whenever the collection has changed; cheap to ask."""


class ArtifactStore(Protocol):
    """Bodies with a record, by name; names may have ``/`` folders."""

    async def add(
        self,
        name: str,
        body: bytes,
        *,
        media_type: str = "application/octet-stream",
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save or replace ``name`` so that a reader sees the old or the new whole value.

        Raises InvalidArtifactNameError, also where ``a`` exists and ``a/b`` is saved or the
        reverse; StorageFullError.
        """

    async def get(self, name: str) -> StoredArtifact:
        """Return the record. Raises ArtifactNotFoundError, InvalidArtifactNameError."""

    async def read(self, name: str) -> tuple[StoredArtifact, bytes]:
        """Return record and body, which belong together. Raises as ``get``."""

    async def read_at_most(self, name: str, size: int) -> tuple[StoredArtifact, bytes | None]:
        """As ``read``; of a body of more than ``size`` bytes nothing is read, and it is None.

        The record then has the size that the body has.
        """

    @property
    def streams(self) -> bool:
        """True where ``receive`` and ``sending`` hold a piece of a body and never all of it."""

    async def receive(
        self,
        name: str,
        pieces: AsyncIterable[bytes],
        *,
        media_type: str = "application/octet-stream",
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save or replace ``name`` once its body is whole.

        Until then readers see what there was, and so they do for good where ``pieces`` raises or
        the caller is cancelled. Raises as ``add``, and what ``pieces`` raises.
        """

    def sending(self, name: str) -> AbstractAsyncContextManager[OpenArtifact]:
        """Open ``name``: its record, and the body that belongs to it. Raises as ``get``."""

    async def list(self) -> list[StoredArtifact]:
        """Return every record, ordered by name."""

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises as ``get``."""


class DepStore(Protocol):
    """Package specs as a set of strings. Validation is the service's business."""

    async def add(self, *specs: str) -> None:
        """Add specs; adding one that is there changes nothing."""

    async def list(self) -> list[str]:
        """Return the specs, sorted."""

    async def remove(self, *specs: str) -> None:
        """Remove exactly these strings; absent ones change nothing."""


class Resolutions(Protocol):
    """What sets of package specs were resolved to, shared by everyone who uses the store.

    A key stands for a set on one Python and platform; a resolution is its ``name==version``.
    """

    async def get(self, key: str) -> tuple[str, ...]:
        """Return the resolution of ``key``, empty where there is none."""

    async def settle(self, key: str, resolved: tuple[str, ...]) -> tuple[str, ...]:
        """Keep ``resolved`` unless ``key`` has a resolution; return the one that it has now."""


class VectorStore(Protocol):
    """Search vectors by the hash of what they were made of: float16 bytes, of one length a space.

    It is a cache: whatever is in it may go at any time, and can be made again.
    """

    async def load(self, space: VectorSpace) -> dict[bytes, bytes]:
        """Return every vector of a space by its hash of KEY_BYTES."""

    async def get_many(self, space: VectorSpace, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the vectors of these hashes, those that exist."""

    async def put_many(self, space: VectorSpace, vectors: Mapping[bytes, bytes]) -> None:
        """Save vectors; of a hash that is there, the later one stays."""

    async def remove(self, space: VectorSpace, keys: Collection[bytes]) -> None:
        """Remove the vectors of these hashes; absent ones change nothing."""

    def lock(self, space: VectorSpace) -> AbstractAsyncContextManager[None]:
        """Keep others, also of other processes, from making the same vectors meanwhile.

        It saves work and guards nothing: a holder that is gone loses it. Raises
        SearchUnavailableError after LOCK_WAIT_S.
        """


class RecordStore(Protocol):
    """Small records that expire: what servers know of sessions and of runs.

    Keys are words of ``A-Z a-z 0-9 . _ -`` joined by ``:``, the first being the kind of record.
    """

    async def get(self, key: str) -> bytes | None:
        """Return a record, None where there is none or its time is over."""

    async def get_many(self, keys: Collection[str]) -> dict[str, bytes]:
        """Return the records of these keys, those that exist."""

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Save or replace a record, which is kept for ``ttl_s`` seconds."""

    async def claim(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        """Save a record unless there is one, which is then returned; None for whoever was first.

        ``value`` must differ from that of every other claimant.
        """

    async def remove(self, key: str) -> None:
        """Remove a record; removing one that is not there changes nothing."""


class Store(Protocol):
    """A place where everything of one trust domain lives."""

    @property
    def tools(self) -> ToolStore: ...
    @property
    def skills(self) -> SkillStore: ...
    @property
    def artifacts(self) -> ArtifactStore: ...
    @property
    def deps(self) -> DepStore: ...
    @property
    def vectors(self) -> VectorStore: ...
    @property
    def records(self) -> RecordStore: ...
    @property
    def resolutions(self) -> Resolutions | None:
        """None where each host resolves packages for itself."""

    def describe(self) -> str:
        """Return where it lives, for logs and ``info``; never with a secret."""

    async def check(self) -> None:
        """Raise StorageUnavailableError, saying why, unless the store answers."""

    async def aclose(self) -> None:
        """Release connections; the storage can be used again afterwards."""
