"""Artifacts as hashes: ``<prefix>:artifacts:<name>`` has the record and, as ``data``, the body.

With a folder for large bodies the record has ``body``, the name of a file there, and no ``data``.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterable, Sequence
from typing import Any

from py_code_mode.errors import (
    CodeModeError,
    StorageUnavailableError,
)
from py_code_mode.store.base import StoredArtifact
from py_code_mode.store.file_types import ANYTHING
from py_code_mode.store.names import (
    artifact_clash,
    artifact_not_found,
    artifact_segments,
    metadata_text,
    utc_text,
)
from py_code_mode.store.pieces import joined
from py_code_mode.store.redis_artifact_reader import RedisArtifactReader
from py_code_mode.store.redis_artifact_records import encoded
from py_code_mode.store.redis_bodies import RedisBodies
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_scripts import script
from py_code_mode.store.redis_tools import wrong_type
from py_code_mode.store.redis_usage import RedisUsage
from py_code_mode.store.redis_wire import Argument, Command

#: From this size on a body travels as a plain HSET, which costs Redis one copy less.
_SEPARATELY_BYTES = 64 * 1024
#: How long a body waits for its record when its writer died between the two.
_INCOMING_S = 600
#: One more where bytes were counted that others removed, one where the body was dropped.
_SAVE_ATTEMPTS = 3


class RedisArtifacts(RedisArtifactReader):
    """The artifacts below one prefix; ``bodies`` keeps the large ones elsewhere."""

    def __init__(
        self, link: RedisLink, keys: RedisKeys, usage: RedisUsage, bodies: RedisBodies | None
    ) -> None:
        super().__init__(link, keys, bodies)
        self._usage = usage

    async def add(
        self,
        name: str,
        body: bytes,
        *,
        media_type: str = ANYTHING,
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save or replace ``name`` so that a reader sees the old or the new whole value.

        Raises:
            InvalidArtifactNameError, ArtifactTypeError: as the protocol says.
            StorageFullError, StorageUnavailableError: from Redis or the disk, or over the limit.
        """
        segments, text = artifact_segments(name), metadata_text(metadata) if metadata else "{}"
        kept = json.loads(text) if metadata else {}
        saved = StoredArtifact(name, media_type, len(body), description, utc_text(), kept)
        file = b""
        if self._bodies is not None and self._bodies.takes(len(body)):
            file = await self._bodies.write(body)
        await self._save(segments, saved, text, file=file, body=body)
        return saved

    @property
    def streams(self) -> bool:
        """True where large bodies are files; Redis itself takes and gives them whole."""
        return self._bodies is not None

    async def receive(
        self,
        name: str,
        pieces: AsyncIterable[bytes],
        *,
        media_type: str = ANYTHING,
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save a body that comes in pieces, once it is whole. Raises as ``add``, and ``pieces``."""
        segments, text = artifact_segments(name), metadata_text(metadata)
        if self._bodies is None:
            body = await joined(pieces)
            file, size = b"", len(body)
        else:
            body, file, size = await self._bodies.receive(pieces)
        saved = StoredArtifact(name, media_type, size, description, utc_text(), json.loads(text))
        await self._save(segments, saved, text, file=file, body=body)
        return saved

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises as ``get``."""
        artifact_segments(name)
        key = self._keys.item("artifacts", name)
        answer = await self._link.script(
            script("remove_artifact"),
            [key, self._keys.artifact_index, self._keys.sizes],
            [name],
        )
        if answer[0] == b"type":
            raise wrong_type(key.decode(), self._link)
        if answer[0] == b"missing":
            raise artifact_not_found(name)
        await self._discard(answer[1])

    async def sweep(self) -> int:
        """Remove bodies in files that no record names, once they are a day old; returns how many.

        Saves of large bodies do it now and then; a call does it at once.
        """
        return 0 if self._bodies is None else await self._bodies.sweep()

    async def _save(
        self,
        segments: Sequence[str],
        saved: StoredArtifact,
        metadata: str,
        *,
        file: bytes,
        body: bytes,
    ) -> None:
        """Put a record in place that has the body, or names the file that has it."""
        record = encoded(saved, metadata, file=file, body=body)
        # Where this fails or is cancelled the record may be in place: the sweep finds that out.
        answer = await self._place(segments, saved, metadata, record, size=len(body) * (not file))
        if answer[0] != b"saved":
            await self._discard(file)
            raise self._refusal(saved.name, answer)
        # Its own, where an earlier attempt had succeeded and its answer was lost.
        if self._bodies is not None:
            await self._discard(b"" if answer[1] == file else answer[1])

    async def _place(
        self,
        segments: Sequence[str],
        saved: StoredArtifact,
        metadata: str,
        record: Sequence[Argument],
        *,
        size: int,
    ) -> Sequence[Any]:
        """Put the record in place; returns what the script answered."""
        artifacts, apart = self._keys.collection("artifacts"), size >= _SEPARATELY_BYTES
        incoming = self._keys.incoming(secrets.token_hex(12) if apart else "none")
        name = saved.name.encode()
        keys = [artifacts + name, self._keys.artifact_index, self._keys.sizes, incoming]
        above = ("/".join(segments[:depth]) for depth in range(1, len(segments)))
        keys += [artifacts + folder.encode() for folder in above]
        texts = len(saved.description.encode()) + len(metadata.encode())
        counted = saved.size + len(name) + texts
        before: list[Command] = []
        arguments: list[Argument] = [name, artifacts, self._usage.limit, counted, int(apart)]
        if apart:  # in one step: whenever its writer dies, what is there expires
            before = [
                (b"MULTI",),
                (b"HSET", incoming, *record),
                (b"EXPIRE", incoming, _INCOMING_S),
                (b"EXEC",),
            ]
        else:
            arguments += record
        answer: Sequence[Any] = ()
        for _ in range(_SAVE_ATTEMPTS):
            answer = await self._link.script(
                script("save_artifact"), keys, arguments, before=before, size=size
            )
            if answer[0] == b"full" and await self._usage.recount():
                continue
            if answer[0] != b"lost":
                break
        return answer

    def _refusal(self, name: str, answer: Sequence[Any]) -> CodeModeError:
        what = bytes(answer[0])
        if what == b"clash":
            prefix = self._keys.collection("artifacts")
            return artifact_clash(name, answer[1][len(prefix) :].decode())
        if what == b"type":
            return wrong_type(self._keys.item("artifacts", name).decode(), self._link)
        if what == b"full":
            return self._usage.full(int(answer[1]), f"artifact {name!r}")
        return StorageUnavailableError(
            f"Redis at {self._link.address.shown} dropped the body of artifact {name!r} on its way "
            "in: set its maxmemory-policy to noeviction"
        )

    async def _discard(self, file: bytes) -> None:
        """Remove the file of a body, if there is one, that no record names."""
        if self._bodies is not None:
            await self._bodies.discard(file)
