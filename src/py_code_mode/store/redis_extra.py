"""Redis as an extra: RedisStorage where redis-py is installed, else the line that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from py_code_mode.errors import ConfigurationError

if TYPE_CHECKING:
    from py_code_mode.store.redis import RedisStorage


class MissingRedisError(ConfigurationError, ImportError):
    """Raised when RedisStorage is asked for and redis-py, an extra, is not installed."""


def redis_storage() -> type[RedisStorage]:
    """Return the class RedisStorage, which takes a while to import.

    Raises:
        MissingRedisError: redis-py is not installed; says how to install it.
    """
    with _told():
        from py_code_mode.store.redis import RedisStorage  # noqa: PLC0415 - an extra, and slow

        return RedisStorage


def check_redis_url(url: str, *, allow_insecure: bool = False) -> None:
    """Raise ConfigurationError for a URL that no storage could use, or without redis-py."""
    with _told():
        from py_code_mode.store.redis_url import read_url  # noqa: PLC0415 - an extra, and slow

        read_url(url, allow_insecure=allow_insecure)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"redis", "hiredis"}:
            raise
        raise MissingRedisError(
            "RedisStorage needs redis-py, which is an extra: pip install 'py-code-mode[redis]'"
        ) from error
