"""What the hash of an artifact says of it, beside its body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from py_code_mode.store.base import StoredArtifact
from py_code_mode.store.file_types import ANYTHING
from py_code_mode.store.redis_wire import Argument

#: ``size`` last but one: what a person's HSET left out is measured.
FIELDS = (b"media_type", b"description", b"metadata", b"created_at", b"size", b"body")


def encoded(saved: StoredArtifact, metadata: str, *, file: bytes, body: bytes) -> list[Argument]:
    """Return the fields and values of a record with its body, or the name of the body's file."""
    return [
        *(b"media_type", saved.media_type, b"description", saved.description),
        *(b"metadata", metadata, b"created_at", saved.created_at, b"size", saved.size),
        *((b"body", file) if file else (b"data", body)),
    ]


def decoded(name: str, values: Sequence[bytes | None], length: int) -> StoredArtifact | None:
    """Return a record; what a person's HSET left out is empty."""
    if not length and not any(value is not None for value in values):
        return None
    media_type, description, metadata, when, size, _ = (
        (value or b"").decode(errors="replace") for value in values
    )
    return StoredArtifact(
        name,
        media_type or ANYTHING,
        int(size) if size.isdecimal() else length,
        description,
        when,
        _metadata(metadata),
    )


def _metadata(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
