"""What is recorded of a skill's versions, and which of them a source on disk is."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from hashlib import blake2b

from py_code_mode.store.base import KEPT_VERSIONS, StoredSkill
from py_code_mode.store.file_folders import DIGEST_BYTES
from py_code_mode.store.names import utc_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SkillVersion:
    """The record of one version; ``digest`` is blake2b of its source's bytes."""

    version: int
    description: str
    author: str
    origin: str
    created_at: str
    digest: str
    mtime_ns: int

    def with_source(self, name: str, source: str) -> StoredSkill:
        """Return the skill this record and its source make."""
        return StoredSkill(
            name,
            source,
            self.description,
            self.version,
            self.author,
            self.origin,
            self.created_at,
        )


@dataclass(frozen=True, slots=True)
class SkillHistory:
    """The records of a skill's versions, oldest first.

    The last one is written before its source is put in place. So the source on disk is that of
    the last record or, while a writer is between the two steps (or was killed there), that of the
    record before it. Anything else was written by a person.
    """

    versions: tuple[SkillVersion, ...] = ()

    @classmethod
    def parse(cls, text: bytes, path: str) -> SkillHistory:
        """Read a history; one that cannot be read counts as none, with a warning."""
        if not text:
            return cls()
        try:
            return cls(tuple(SkillVersion(**record) for record in json.loads(text)["versions"]))
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("skill history passed over: %s: %s", path, error)
            return cls()

    def text(self) -> bytes:
        """Return the history as ``parse`` reads it."""
        return json.dumps({"versions": [asdict(record) for record in self.versions]}).encode()

    def recorded(self, source: bytes, mtime_ns: int) -> SkillVersion | None:
        """Return the record of the source on disk, or None if a person wrote it."""
        if not self.versions:
            return None
        found = digest(source)
        if self.versions[-1].digest == found:
            return self.versions[-1]
        # The time tells a source not yet replaced from one that a person put back.
        for record in self.versions[-2:-1]:
            if (record.digest, record.mtime_ns) == (found, mtime_ns):
                return record
        return None

    def by_hand(self, source: bytes, mtime_ns: int) -> SkillVersion:
        """Return the record of a source that a person wrote after the last recorded version."""
        version = self.versions[-1].version + 1 if self.versions else 1
        created_at = utc_text(mtime_ns / 1e9)
        return SkillVersion(version, "", "", "config", created_at, digest(source), mtime_ns)

    def before(self, version: int) -> dict[int, SkillVersion]:
        """Return the records of the versions before ``version``, by number."""
        return {record.version: record for record in self.versions if record.version < version}

    def followed_by(self, current: SkillVersion, new: SkillVersion) -> SkillHistory:
        """Return the history with ``new`` after ``current``, the oldest versions dropped."""
        older = self.before(current.version).values()
        return SkillHistory((*older, current, new)[-KEPT_VERSIONS:])


def digest(source: bytes) -> str:
    """Return the digest that records carry."""
    return blake2b(source, digest_size=DIGEST_BYTES).hexdigest()
