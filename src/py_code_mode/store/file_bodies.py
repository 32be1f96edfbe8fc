"""What a body on disk is when no record says so; remembered, so that a listing reads none twice."""

from __future__ import annotations

import time
from dataclasses import dataclass

from py_code_mode.store.base import StoredArtifact
from py_code_mode.store.file_artifact_records import body_digest
from py_code_mode.store.file_folders import Identity, file_digest, identity, read_file
from py_code_mode.store.file_types import ANYTHING, is_text, media_type_by_suffix, media_type_of
from py_code_mode.store.names import utc_text

#: A larger body is not read into memory to see whether it is text.
MAX_LOOKED_INTO = 64 * 1024 * 1024
_REMEMBERED = 4096
# Two edits in one step of the file system's clock show the same time, so a file this young may
# still change without showing it.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class BodyFacts:
    """Digest and media type of the body whose file shows ``identity``."""

    identity: Identity
    digest: str
    media_type: str

    def stored(self, name: str) -> StoredArtifact:
        """Return the record of an artifact that has no other."""
        size, mtime_ns, _ = self.identity
        return StoredArtifact(name, self.media_type, size, "", utc_text(mtime_ns / 1e9), {})


class Bodies:
    """Looks into bodies, and remembers what it saw for as long as their files look the same."""

    def __init__(self) -> None:
        self._known: dict[str, BodyFacts] = {}

    def facts(self, within: int, file: str, name: str, seen: Identity) -> BodyFacts:
        """Return the facts of a body; their identity is not ``seen`` if it changed meanwhile."""
        known = self._known.get(name)
        if known is not None and known.identity == seen:
            return known
        facts = _look(within, file, name, seen)
        if time.time_ns() - facts.identity[1] > _SETTLED_NS:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = facts
        return facts


def _look(within: int, file: str, name: str, seen: Identity) -> BodyFacts:
    if seen[0] <= MAX_LOOKED_INTO:
        body, status = read_file(within, file)
        return BodyFacts(identity(status), body_digest(body), media_type_of(name, body))
    digest, status = file_digest(within, file)
    promised = media_type_by_suffix(name)
    return BodyFacts(identity(status), digest, ANYTHING if is_text(promised) else promised)
