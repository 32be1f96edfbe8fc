"""The storage that many replicas share: a Redis, or a Valkey, with everything below one prefix."""

from __future__ import annotations

import os
import secrets

from py_code_mode.errors import ConfigurationError, StorageFullError
from py_code_mode.models import MIB
from py_code_mode.store.redis_artifacts import RedisArtifacts
from py_code_mode.store.redis_bodies import RedisBodies
from py_code_mode.store.redis_deps import RedisDeps
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisClient, RedisLink
from py_code_mode.store.redis_records import RedisRecords
from py_code_mode.store.redis_resolutions import RedisResolutions
from py_code_mode.store.redis_skills import RedisSkills
from py_code_mode.store.redis_tools import RedisTools
from py_code_mode.store.redis_url import read_url
from py_code_mode.store.redis_usage import RedisUsage
from py_code_mode.store.redis_vectors import RedisVectors
from py_code_mode.store.redis_watch import RedisWatch


class RedisStorage:
    """Everything of one trust domain below ``prefix``: ``agent:tools:…``, ``agent:deps`` and so on.

    A change made through one storage is seen by every other at its next call. Connections open on
    first use and heal by themselves; a call that gets no answer ends within ``store_timeout_s``.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``; give this or ``redis``.
        redis: a client of ``redis.asyncio``; connections are made as it makes its own.
        prefix: what every key begins with.
        artifacts_path: a folder that all replicas share, for bodies over ``inline_max`` bytes.
        max_store_mb: what skills and artifacts may have together; None is no limit.
        store_timeout_s: how long one call may take; large bodies get more.
        allow_insecure: accept a Redis beyond loopback without a password, or certificates
            that are not checked.

    Raises:
        ConfigurationError: for arguments that cannot work or are not safe.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        redis: RedisClient | None = None,
        prefix: str = "agent",
        artifacts_path: str | os.PathLike[str] | None = None,
        inline_max: int = MIB,
        max_store_mb: int | None = None,
        store_timeout_s: float = 5.0,
        allow_insecure: bool = False,
    ) -> None:
        _check_numbers(inline_max, max_store_mb, store_timeout_s)
        keys = RedisKeys(prefix)
        self.prefix = prefix
        self._link = _link(url, redis, timeout_s=store_timeout_s, allow_insecure=allow_insecure)
        self._check_key = keys.incoming(f"check-{secrets.token_hex(4)}")
        usage = RedisUsage(self._link, keys, max_store_mb)
        self._watch = RedisWatch(
            self._link, [keys.collection(kind) for kind in ("tools", "skills")]
        )
        bodies = None
        if artifacts_path is not None:
            bodies = RedisBodies(self._link, keys, os.fspath(artifacts_path), inline_max)
        self.tools = RedisTools(self._link, keys, self._watch)
        self.skills = RedisSkills(self._link, keys, self._watch, usage)
        self.artifacts = RedisArtifacts(self._link, keys, usage, bodies)
        self.deps = RedisDeps(self._link, keys)
        self.vectors = RedisVectors(self._link, keys)
        self.records = RedisRecords(self._link, keys)
        self.resolutions = RedisResolutions(self._link, keys)

    def describe(self) -> str:
        """Return where it lives, like ``Redis at localhost:6379, prefix 'agent'``."""
        return f"Redis at {self._link.address.shown}, prefix {self.prefix!r}"

    async def check(self) -> None:
        """Raise StorageUnavailableError, saying why, unless it can be read and written.

        One that is full answers: what it holds can be read.
        """
        try:
            await self._link.call(b"SET", self._check_key, b"1", b"PX", 1000)
        except StorageFullError:
            await self._link.call(b"PING")

    async def aclose(self) -> None:
        """Close the connections it opened; the storage can be used again afterwards."""
        await self._watch.aclose()
        await self._link.aclose()


def _link(
    url: str | None, redis: RedisClient | None, *, timeout_s: float, allow_insecure: bool
) -> RedisLink:
    if (url is None) == (redis is None):
        raise ConfigurationError("RedisStorage takes either url=… or redis=…, a client")
    if redis is not None:
        return RedisLink.over(redis, timeout_s=timeout_s, allow_insecure=allow_insecure)
    address = read_url(str(url), allow_insecure=allow_insecure)
    return RedisLink.to_address(address, timeout_s=timeout_s)


def _check_numbers(inline_max: int, max_store_mb: int | None, store_timeout_s: float) -> None:
    problems = []
    if inline_max < 0:
        problems.append("inline_max must be 0 or more bytes")
    if max_store_mb is not None and max_store_mb < 1:
        problems.append("max_store_mb must be 1 or more, or None for no limit")
    if store_timeout_s <= 0:
        problems.append("store_timeout_s must be more than 0")
    if problems:
        raise ConfigurationError(f"RedisStorage: {'; '.join(problems)}")
