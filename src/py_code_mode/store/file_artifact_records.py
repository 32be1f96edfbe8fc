"""What is recorded of an artifact, and whether a body on disk is the recorded one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

from py_code_mode.store.base import StoredArtifact
from py_code_mode.store.file_folders import DIGEST_BYTES, Identity

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BodyRecord:
    """The record of one body: ``digest`` is its blake2b, ``mtime_ns`` and ``inode`` its file's."""

    size: int
    mtime_ns: int
    inode: int
    digest: str
    media_type: str
    description: str
    created_at: str
    metadata: dict[str, Any]

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

    def stored(self, name: str) -> StoredArtifact:
        """Return the record as the store gives it."""
        return StoredArtifact(
            name, self.media_type, self.size, self.description, self.created_at, self.metadata
        )


@dataclass(frozen=True, slots=True)
class RecordPair:
    """The record of an artifact's body and, until its body is in place, that of the one before.

    A writer writes the pair first and replaces the body second; a file keeps its inode and its
    time when it is put in place, so the pair can name them beforehand.
    """

    new: BodyRecord | None = None
    old: BodyRecord | None = None

    @classmethod
    def parse(cls, text: bytes, path: str) -> RecordPair:
        """Read a pair; one that cannot be read counts as none, with a warning."""
        if not text:
            return cls()
        try:
            fields = json.loads(text)
            return cls(BodyRecord(**fields["new"]), _optional(fields["old"]))
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("artifact record passed over: %s: %s", path, error)
            return cls()

    def text(self, name: str) -> bytes:
        """Return the pair as ``parse`` reads it."""
        new, old = (record and asdict(record) for record in (self.new, self.old))
        return json.dumps({"name": name, "new": new, "old": old}).encode()

    def looking_like(self, seen: Identity) -> BodyRecord | None:
        """Return the record of the file that shows ``seen``; its body need not be read."""
        return next((record for record in self._records() if record.identity == seen), None)

    def may_be(self, seen: Identity) -> bool:
        """Tell whether it is worth the while to hash the body of a file that shows ``seen``."""
        return any(record.size == seen[0] for record in self._records())

    def of_digest(self, digest: str, seen: Identity) -> BodyRecord | None:
        """Return the record of a body that was copied, as from a backup, or None."""
        if self.new and self.new.digest == digest:
            return self.new
        # The time tells a body not yet replaced from one that a person put back.
        if self.old and (self.old.digest, self.old.mtime_ns) == (digest, seen[1]):
            return self.old
        return None

    def _records(self) -> Iterator[BodyRecord]:
        return filter(None, (self.new, self.old))


def body_digest(body: bytes) -> str:
    """Return the digest that records carry."""
    return blake2b(body, digest_size=DIGEST_BYTES).hexdigest()


def record_file(name: str) -> str:
    """Return the name of the file that holds an artifact's records."""
    return f"{blake2b(name.encode(), digest_size=20).hexdigest()}.json"


def _optional(fields: dict[str, Any] | None) -> BodyRecord | None:
    return None if fields is None else BodyRecord(**fields)
