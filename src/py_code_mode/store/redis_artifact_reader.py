"""Artifacts as hashes, read: the record and its body together, wherever the body is."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from py_code_mode.errors import ArtifactUnavailableError
from py_code_mode.store.base import OpenArtifact, StoredArtifact
from py_code_mode.store.names import artifact_not_found, artifact_segments, is_artifact_name
from py_code_mode.store.pieces import cut, read_in_pieces
from py_code_mode.store.redis_artifact_records import FIELDS, decoded
from py_code_mode.store.redis_bodies import RedisBodies
from py_code_mode.store.redis_catalog import scan
from py_code_mode.store.redis_errors import ResponseError
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_scripts import script
from py_code_mode.store.redis_tools import wrong_type
from py_code_mode.store.redis_wire import Command

_AT_ONCE = 500
_READ_ATTEMPTS = 20

#: An alias, because the class below has a method named list.
Artifacts = list[StoredArtifact]


class RedisArtifactReader:
    """The artifacts below one prefix; ``bodies`` has the large ones."""

    def __init__(self, link: RedisLink, keys: RedisKeys, bodies: RedisBodies | None) -> None:
        self._link = link
        self._keys = keys
        self._bodies = bodies

    @asynccontextmanager
    async def sending(self, name: str) -> AsyncIterator[OpenArtifact]:
        """Open ``name``: its record, and its body in pieces. Raises as ``read``."""
        stored, data, file = await self._found(name)
        if file is None:
            yield stored, cut(data or b"")
        else:
            with file:
                yield stored, read_in_pieces(file)

    async def get(self, name: str) -> StoredArtifact:
        """Return the record. Raises ArtifactNotFoundError, InvalidArtifactNameError."""
        artifact_segments(name)
        key = self._keys.item("artifacts", name)
        commands: list[Command] = [(b"HMGET", key, *FIELDS), (b"HSTRLEN", key, b"data")]
        values, length = await self._link.pipeline(commands, key=key.decode())
        stored = decoded(name, values, length)
        if stored is None:
            raise artifact_not_found(name)
        return stored

    async def read(self, name: str) -> tuple[StoredArtifact, bytes]:
        """Return record and body, which belong together.

        Raises:
            ArtifactNotFoundError, InvalidArtifactNameError: as ``get``.
            ArtifactUnavailableError: if the body's file is missing.
        """
        stored, data, file = await self._found(name)
        if file is None or self._bodies is None:
            return stored, data or b""
        return stored, await self._bodies.read_all(file)

    async def read_at_most(self, name: str, size: int) -> tuple[StoredArtifact, bytes | None]:
        """As ``read``; of a body of more than ``size`` bytes nothing is read, and it is None."""
        stored, data, file = await self._found(name, at_most=size)
        if file is None or self._bodies is None:
            return stored, data
        length = await self._bodies.size_of(file)
        if length > size:
            file.close()
            return replace(stored, size=length), None
        return stored, await self._bodies.read_all(file)

    async def list(self) -> Artifacts:
        """Return every record, ordered by name."""
        names = sorted(filter(is_artifact_name, await scan(self._link, self._keys, "artifacts")))
        found: Artifacts = []
        for start in range(0, len(names), _AT_ONCE):
            found += await self._listed(names[start : start + _AT_ONCE])
        return found

    async def _found(
        self, name: str, *, at_most: int | None = None
    ) -> tuple[StoredArtifact, bytes | None, io.FileIO | None]:
        """Return the record, and the body (None where it is larger) or its open file."""
        artifact_segments(name)
        key, before = self._keys.item("artifacts", name), b""
        for _ in range(_READ_ATTEMPTS):
            length, data, *values = await self._hash(key, at_most)
            stored, file = decoded(name, values, length), values[-1] or b""
            if stored is None:
                raise artifact_not_found(name)
            if not file:
                if at_most is None or length <= at_most:
                    return stored, data, None
                return replace(stored, size=length), None, None  # whatever the record says
            opened = await self._bodies.open(file) if self._bodies is not None else None
            if opened is not None:
                return stored, b"", opened
            # Missing: it was replaced since its record was read, unless that says the same again.
            if file == before:
                break
            before = file
        raise self._unavailable(name)

    async def _hash(self, key: bytes, at_most: int | None) -> Sequence[Any]:
        """Return the size of the body, the body unless it is larger, and the record's fields."""
        if at_most is None:
            body, *values = await self._link.sized(
                (b"HSTRLEN", key, b"data"), (b"HMGET", key, b"data", *FIELDS), key=key.decode()
            )
            return len(body or b""), body or b"", *values
        answer: Sequence[Any] = await self._link.script(
            script("read_artifact"), [key], [at_most, *FIELDS], size=at_most
        )
        if answer[0] == b"type":
            raise wrong_type(key.decode(), self._link)
        return answer

    async def _listed(self, names: Sequence[str]) -> Artifacts:
        commands: list[Command] = []
        for name in names:
            key = self._keys.item("artifacts", name)
            commands += [(b"HMGET", key, *FIELDS), (b"HSTRLEN", key, b"data")]
        replies = await self._link.replies(commands)
        found: Artifacts = []
        for name, values, length in zip(names, replies[::2], replies[1::2], strict=True):
            if not isinstance(values, ResponseError):
                stored = decoded(name, values, length)
                found += [stored] if stored is not None else []
        return found

    def _unavailable(self, name: str) -> ArtifactUnavailableError:
        where = "ARTIFACTS_PATH is not set here" if self._bodies is None else self._bodies.shown
        return ArtifactUnavailableError(
            f"the record of artifact {name!r} is there and its body is not ({where}): mount the "
            "folder that it was saved to, or save it again",
            name=name,
        )
