"""Redis as an extra: RedisStorage where redis-py is installed, else the line that installs it."""

from __future__ import annotations

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
    try:
        from py_code_mode.store.redis import RedisStorage  # noqa: PLC0415 - an extra, and slow
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"redis", "hiredis"}:
            raise
        raise MissingRedisError(
            "RedisStorage needs redis-py, which is an extra: pip install 'py-code-mode[redis]'"
        ) from error
    return RedisStorage
