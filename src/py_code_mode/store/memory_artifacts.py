"""Artifacts in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from py_code_mode.store.base import OpenArtifact, StoredArtifact
from py_code_mode.store.names import (
    artifact_clash,
    artifact_not_found,
    artifact_segments,
    metadata_text,
    utc_text,
)
from py_code_mode.store.pieces import cut, joined


class MemoryArtifacts:
    """Bodies and records in a dictionary; metadata is kept as JSON text, so none is shared."""

    def __init__(self) -> None:
        self._saved: dict[str, tuple[StoredArtifact, str, bytes]] = {}
        self._lock = threading.Lock()

    async def add(
        self,
        name: str,
        body: bytes,
        *,
        media_type: str = "application/octet-stream",
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save or replace ``name``. Raises InvalidArtifactNameError, ArtifactTypeError."""
        segments = artifact_segments(name)
        text = metadata_text(metadata)
        bare = StoredArtifact(name, media_type, len(body), description, utc_text())
        with self._lock:
            self._refuse_clash(name, segments)
            self._saved[name] = (bare, text, bytes(body))
        return _with_metadata(bare, text)

    async def get(self, name: str) -> StoredArtifact:
        """Return the record. Raises ArtifactNotFoundError, InvalidArtifactNameError."""
        return (await self.read(name))[0]

    async def read(self, name: str) -> tuple[StoredArtifact, bytes]:
        """Return record and body, which belong together. Raises as ``get``."""
        artifact_segments(name)
        with self._lock:
            if name not in self._saved:
                raise artifact_not_found(name)
            bare, text, body = self._saved[name]
        return _with_metadata(bare, text), body

    async def read_at_most(self, name: str, size: int) -> tuple[StoredArtifact, bytes | None]:
        """As ``read``; of a body of more than ``size`` bytes nothing is read, and it is None."""
        stored, body = await self.read(name)
        return stored, body if len(body) <= size else None

    @property
    def streams(self) -> bool:
        """False: what is kept in memory is there as a whole."""
        return False

    async def receive(
        self,
        name: str,
        pieces: AsyncIterable[bytes],
        *,
        media_type: str = "application/octet-stream",
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save a body that comes in pieces, once it is whole. Raises as ``add``, and ``pieces``."""
        artifact_segments(name)
        kept = json.loads(metadata_text(metadata))
        body = await joined(pieces)
        return await self.add(
            name, body, media_type=media_type, description=description, metadata=kept
        )

    @asynccontextmanager
    async def sending(self, name: str) -> AsyncIterator[OpenArtifact]:
        """Open ``name``: its record, and its body in pieces. Raises as ``get``."""
        stored, body = await self.read(name)
        yield stored, cut(body)

    async def list(self) -> list[StoredArtifact]:
        """Return every record, ordered by name."""
        with self._lock:
            saved = sorted(self._saved.items())
        return [_with_metadata(bare, text) for _, (bare, text, _body) in saved]

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises as ``get``."""
        artifact_segments(name)
        with self._lock:
            if self._saved.pop(name, None) is None:
                raise artifact_not_found(name)

    def _refuse_clash(self, name: str, segments: tuple[str, ...]) -> None:
        above = ("/".join(segments[:depth]) for depth in range(1, len(segments)))
        below = (other for other in sorted(self._saved) if other.startswith(f"{name}/"))
        for other in above:
            if other in self._saved:
                raise artifact_clash(name, other)
        for other in below:
            raise artifact_clash(name, other)


def _with_metadata(bare: StoredArtifact, text: str) -> StoredArtifact:
    return StoredArtifact(
        bare.name,
        bare.media_type,
        bare.size,
        bare.description,
        bare.created_at,
        json.loads(text),
    )
