"""What is recorded of an artifact, and which of the records the body on disk has.

The records of one artifact are the lines of one file, newest last. A writer appends the record
of the new body first and puts the body in place second: a file keeps its inode and its time when
it is put in place, so the record can name them beforehand. Appending is what makes it cheap; the
file is written anew once it is longer than MAX_RECORDS_BYTES.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from py_code_mode.store.base import StoredArtifact
from py_code_mode.store.file_folders import DIGEST_BYTES, Identity
from py_code_mode.store.names import metadata_text

#: From which length on a file of records is written anew with the current one alone.
MAX_RECORDS_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class BodyRecord:
    """The record of one body: ``digest`` is its blake2b, ``mtime_ns`` and ``inode`` its file's."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    digest: str
    media_type: str
    description: str
    created_at: str
    metadata: dict[str, Any]

    @classmethod
    def unplaced(
        cls, name: str, media_type: str, description: str, metadata: dict[str, Any] | None
    ) -> BodyRecord:
        """Return the record of a body that has no file yet. Raises ArtifactTypeError."""
        kept = json.loads(metadata_text(metadata))
        return cls(name, 0, 0, 0, "", media_type, description, "", kept)

    @property
    def identity(self) -> Identity:
        """What the body's file shows to whoever only looks at it."""
        return self.size, self.mtime_ns, self.inode

    def of_body(self, seen: Identity, digest: str, created_at: str) -> BodyRecord:
        """Return the record for the body in the file that shows ``seen``."""
        size, mtime_ns, inode = seen
        return replace(
            self, size=size, mtime_ns=mtime_ns, inode=inode, digest=digest, created_at=created_at
        )

    def stored(self) -> StoredArtifact:
        """Return the record as the store gives it."""
        return StoredArtifact(
            self.name,
            self.media_type,
            self.size,
            self.description,
            self.created_at,
            self.metadata,
        )

    def line(self) -> bytes:
        """Return the record as a line; it starts with a line end, lest half a line is before."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return f"\n{json.dumps(fields)}\n".encode()


class BodyRecords:
    """The records in a file's ``text``. A line that cannot be read was never finished."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def looking_like(self, seen: Identity) -> BodyRecord | None:
        """Return the record of the file that shows ``seen``; its body need not be read."""
        return next((record for record in self if record.identity == seen), None)

    def may_have(self, size: int) -> bool:
        """Tell whether it is worth the while to hash a body of ``size`` bytes."""
        return any(record.size == size for record in self)

    def of_digest(self, digest: str) -> BodyRecord | None:
        """Return the newest record of a body that was copied, as from a backup."""
        return next((record for record in self if record.digest == digest), None)

    def __iter__(self) -> Iterator[BodyRecord]:
        for line in reversed(self._text.split(b"\n")):
            record = _parsed(line) if line else None
            if record is not None:
                yield record


def body_digest(body: bytes) -> str:
    """Return the digest that records carry."""
    return blake2b(body, digest_size=DIGEST_BYTES).hexdigest()


def records_file(name: str) -> str:
    """Return the name of the file that holds an artifact's records."""
    return f"{blake2b(name.encode(), digest_size=20).hexdigest()}.jsonl"


def _parsed(line: bytes) -> BodyRecord | None:
    try:
        return BodyRecord(**json.loads(line))
    except (TypeError, ValueError):
        return None
