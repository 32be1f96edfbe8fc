"""The artifacts namespace: values that outlive a session, given back equal and of the same type."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any, NoReturn

from py_code_mode.errors import (
    ArtifactNotFoundError,
    ArtifactTooLargeError,
    ArtifactTypeError,
)
from py_code_mode.models import ArtifactRecord, Blob
from py_code_mode.services.lossless import OverSizeError, check_lossless, encode_json
from py_code_mode.services.operation import operation
from py_code_mode.store.base import ArtifactStore, StoredArtifact
from py_code_mode.text import check_description, has_surrogates, one_line, plain
from py_code_mode.tools.base import Caller

JSON, TEXT, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"
MAX_METADATA_BYTES = 64 * 1024
#: Larger bodies are encoded and decoded in a thread: smaller ones cost less than the hop there.
_INLINE_BYTES = 256 * 1024
#: What fits in one frame to a session, with what else is in it.
_MAX_LOADED_BYTES = 64_000_000
_MAX_MEDIA_TYPE_CHARS = 100
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")

# Annotations below a method called ``list`` need another name for the type.
ArtifactRecords = list[ArtifactRecord]


class ArtifactsService:
    """Operations on the artifacts of one store; ``max_bytes`` is the largest body."""

    def __init__(self, store: ArtifactStore, *, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    @operation
    async def save(
        self, name: str, data: Any, description: str = "", metadata: dict[str, Any] | None = None
    ) -> ArtifactRecord:
        """Save a value under a name, replacing what was there; readers see the old or the new one.

        Args:
            name: may have ``/`` folders; shared by all sessions of this store.
            data: a JSON value, str, bytes, or a DataFrame, figure or image.
            description: what it is.
            metadata: a JSON object of yours, at most 64 KiB.

        Raises:
            ArtifactTypeError: a value would not come back equal; names where it sits.
            ArtifactTooLargeError: the body or the metadata is over its limit.
            InvalidArtifactNameError: the name leaves the root, or clashes with a folder.
        """
        check_description(description)
        _check_metadata(metadata)
        media_type, body = await self._encode(data)
        stored = await self._store.add(
            name, body, media_type=media_type, description=description, metadata=metadata
        )
        return _record(stored)

    @operation
    async def load(self, name: str, caller: Caller | None = None) -> Any:
        """Return a saved value, of the type it had.

        Raises:
            ArtifactNotFoundError: there is no artifact of this name.
            ArtifactTooLargeError: it is more than a session can be given at once.
        """
        if caller is None:
            stored, whole = await self._store.read(name)
            if len(whole) <= _INLINE_BYTES:
                return decode(stored.media_type, whole)
            return await asyncio.to_thread(decode, stored.media_type, whole)
        stored, body = await self._store.read_at_most(name, _INLINE_BYTES)
        if body is not None:
            return decode(stored.media_type, body)
        return await self._load_large(stored, caller)

    async def _load_large(self, stored: StoredArtifact, caller: Caller) -> Any:
        """Return a body for a session, whose own process makes a value of it and pays for that."""
        body = None
        while body is None:  # it may be replaced by a larger one
            if stored.size > _MAX_LOADED_BYTES:
                raise ArtifactTooLargeError(
                    f"the artifact has {stored.size:,} bytes; at most {_MAX_LOADED_BYTES:,} can be "
                    "loaded. Save it in parts, or fetch it from outside of the session",
                    size=stored.size,
                    max_bytes=_MAX_LOADED_BYTES,
                )
            await caller.make_room(stored.size)
            stored, body = await self._store.read_at_most(stored.name, stored.size)
        return body if stored.media_type == BYTES else Blob(stored.media_type, body)

    @operation
    async def get(self, name: str) -> ArtifactRecord:
        """Return what is known of an artifact, without its value.

        Raises:
            ArtifactNotFoundError: there is no artifact of this name.
        """
        stored = await self._store.get(name)
        return _record(stored, description=plain(stored.description))

    @operation
    async def list(self) -> ArtifactRecords:
        """Return what is known of every artifact, ordered by name."""
        return [_record(stored) for stored in await self._store.list()]

    @operation
    async def exists(self, name: str) -> bool:
        """Tell whether there is an artifact of this name."""
        try:
            await self._store.get(name)
        except ArtifactNotFoundError:
            return False
        return True

    @operation
    async def delete(self, name: str) -> None:
        """Delete an artifact.

        Raises:
            ArtifactNotFoundError: there is no artifact of this name.
        """
        await self._store.remove(name)

    async def _encode(self, data: Any) -> tuple[str, bytes]:
        """Return media type and body; the types that have no JSON form are told apart by type."""
        if type(data) is bytes:
            return BYTES, self._within_limit(data)
        if type(data) is Blob:
            return _media_type(data), self._within_limit(data.body)
        if type(data) is str:
            if has_surrogates(data):
                raise ArtifactTypeError("data has half of a surrogate pair, which is no text")
            return TEXT, self._within_limit(data.encode())
        return JSON, await self._encode_json(data)

    async def _encode_json(self, data: Any) -> bytes:
        inline = min(_INLINE_BYTES, self._max_bytes)
        try:
            return encode_json(data, where="data", max_bytes=inline)
        except OverSizeError:
            if inline == self._max_bytes:
                self._too_large()
        try:
            return await asyncio.to_thread(
                encode_json, data, where="data", max_bytes=self._max_bytes
            )
        except OverSizeError:
            self._too_large()

    def _within_limit(self, body: bytes) -> bytes:
        if len(body) > self._max_bytes:
            self._too_large(len(body))
        return body

    def _too_large(self, size: int | None = None) -> NoReturn:
        had = f"{size:,}" if size is not None else "more"
        raise ArtifactTooLargeError(
            f"the artifact has {had} bytes; at most {self._max_bytes:,} are allowed. Split it",
            max_bytes=self._max_bytes,
            **({} if size is None else {"size": size}),
        )


def decode(media_type: str, body: bytes) -> Any:
    """Return the value of a body. Bodies may be made by hand: what does not parse is text or bytes.

    A Blob is for the caller's richer decoder (a DataFrame, an image).
    """
    kind = media_type.partition(";")[0].strip().lower()
    if kind == BYTES:
        return body
    if kind != JSON and not kind.startswith("text/"):
        return Blob(media_type, body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    return _parse_json(text) if kind == JSON else text


def _parse_json(text: str) -> Any:
    """Return the JSON value; the text where it is none, or one that no caller could be sent."""
    try:
        value = json.loads(text.removeprefix("\ufeff"))
        check_lossless(value, where="data", max_bytes=sys.maxsize)
    except (ValueError, RecursionError, ArtifactTypeError):
        return text
    return value


def _media_type(blob: Blob) -> str:
    name, body = blob.media_type, blob.body
    if type(body) is not bytes:
        raise ArtifactTypeError("the body of a Blob must be bytes")
    if (
        type(name) is not str
        or len(name) > _MAX_MEDIA_TYPE_CHARS
        or not _MEDIA_TYPE.fullmatch(name)
    ):
        raise ArtifactTypeError(
            "the media type of a Blob must look like 'image/png' and have at most "
            f"{_MAX_MEDIA_TYPE_CHARS} characters"
        )
    return name


def _check_metadata(metadata: dict[str, Any] | None) -> None:
    if not metadata:
        return
    try:
        encode_json(metadata, where="metadata", max_bytes=MAX_METADATA_BYTES)
    except OverSizeError:
        raise ArtifactTooLargeError(
            f"the metadata has more than {MAX_METADATA_BYTES:,} bytes of JSON; "
            "save it as an artifact of its own",
            max_bytes=MAX_METADATA_BYTES,
        ) from None


def _record(stored: StoredArtifact, *, description: str | None = None) -> ArtifactRecord:
    return ArtifactRecord(
        name=stored.name,
        description=one_line(stored.description) if description is None else description,
        media_type=stored.media_type,
        size=stored.size,
        metadata=stored.metadata,
        created_at=stored.created_at,
    )
