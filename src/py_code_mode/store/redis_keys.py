"""The keys below a prefix. Every name ends its key, so no name can reach another one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from py_code_mode.errors import ConfigurationError

#: What a prefix has below it that belongs to everyone.
COLLECTIONS = ("tools", "skills", "artifacts", "deps")
#: The rest below it, which is ours.
_OURS = (
    *("answered", "ask", "asked", "changes", "execution", "incoming", "index", "lock", "replica"),
    *("resolved", "revision", "session", "usage", "versions"),
)
MAX_PREFIX_CHARS = 200
_GLOB = re.compile(r"([\\*?\[\]])")


class RedisKeys:
    """The names of all keys of one prefix, as bytes.

    Args:
        prefix: what every key begins with, like ``agent``.

    Raises:
        ConfigurationError: for a prefix that could not be told from a collection's.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = _checked(prefix)
        self.deps = self._key("deps")
        #: Names of artifacts in order, to find the ones below a folder.
        self.artifact_index = self._key("index:artifacts")
        #: Bytes by skill and artifact, and their sum.
        self.sizes = self._key("usage:sizes")
        self.sweep_lock = self._key("lock:sweep")

    def collection(self, kind: str) -> bytes:
        """Return what the keys of ``tools``, ``skills`` or ``artifacts`` begin with."""
        return self._key(f"{kind}:")

    def item(self, kind: str, name: str) -> bytes:
        """Return the key of one tool, skill or artifact."""
        return self._key(f"{kind}:{name}")

    def revision(self, kind: str) -> bytes:
        """Return the key that counts the changes of a collection."""
        return self._key(f"revision:{kind}")

    def changes(self, kind: str) -> bytes:
        """Return the key that says which names the latest changes touched."""
        return self._key(f"changes:{kind}")

    def versions(self, name: str) -> bytes:
        """Return the key of a skill's earlier versions."""
        return self._key(f"versions:{name}")

    def resolved(self, key: str) -> bytes:
        """Return the key of what one set of package specs was resolved to."""
        return self._key(f"resolved:{key}")

    def incoming(self, token: str) -> bytes:
        """Return the key of a body on its way in; it expires by itself."""
        return self._key(f"incoming:{token}")

    def record(self, key: str) -> bytes:
        """Return the key of a record that expires; ``key`` begins with its kind."""
        return self._key(key)

    def pattern(self, kind: str) -> bytes:
        """Return the pattern that matches the keys of a collection and no others."""
        return _GLOB.sub(r"\\\1", f"{self.prefix}:{kind}:").encode() + b"*"

    def _key(self, rest: str) -> bytes:
        return f"{self.prefix}:{rest}".encode()


def _checked(prefix: str) -> str:
    problem = _problem(prefix)
    if problem is not None:
        # What was given in its place may be a URL, with a password.
        shown = "this" if "://" in prefix else ascii(prefix)[:80]
        raise ConfigurationError(
            f"{shown} is not a prefix for Redis keys: {problem}; give one like 'agent'"
        )
    return prefix


def _problem(prefix: str) -> str | None:
    if not 1 <= len(prefix) <= MAX_PREFIX_CHARS:
        return f"it must have 1 to {MAX_PREFIX_CHARS} characters"
    if any(unicodedata.category(character)[0] in "CZ" for character in prefix):
        return "it has a space or a control character"
    segments = prefix.split(":")
    if not all(segments):
        return "it has an empty part"
    if segments[-1] in COLLECTIONS and len(segments) > 1:
        return f"it names a collection; the prefix is what comes before ':{segments[-1]}'"
    taken = set(segments[1:]) & {*COLLECTIONS, *_OURS}
    if taken:
        return f"its keys would be among those of another prefix's {min(taken)}"
    return None


def names_after(prefix: bytes, keys: Iterable[bytes]) -> list[str]:
    """Return the names in ``keys``, which begin with ``prefix``; what is no UTF-8 is no name."""
    found = []
    for key in keys:
        try:
            found.append(key[len(prefix) :].decode())
        except UnicodeDecodeError:
            continue
    return found
