"""A place for LLM agents to write Python: persistent, sandboxed sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_code_mode._version import __version__
from py_code_mode.models import Event, Limits, RunResult, SessionState
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.sessions.session import Session
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryStorage
from py_code_mode.store.redis_extra import redis_storage

if TYPE_CHECKING:
    from py_code_mode.store.redis import RedisStorage

__all__ = [
    "Event",
    "FileStorage",
    "Limits",
    "MemoryStorage",
    "PackageInstaller",
    "RedisStorage",
    "RunResult",
    "Session",
    "SessionState",
    "__version__",
]


def __getattr__(name: str) -> type[RedisStorage]:
    """Import RedisStorage when it is asked for: redis-py is an extra, and takes a while."""
    if name != "RedisStorage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return redis_storage()
