"""A place for LLM agents to write Python: persistent, sandboxed sessions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from py_code_mode._version import __version__

if TYPE_CHECKING:
    from py_code_mode.client.session import SessionClient
    from py_code_mode.models import Event, Limits, RunResult, SessionState
    from py_code_mode.packages.installer import PackageInstaller
    from py_code_mode.sessions.session import Session
    from py_code_mode.store.file import FileStorage
    from py_code_mode.store.memory import MemoryStorage
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
    "SessionClient",
    "SessionState",
    "__version__",
]

#: Where each name is, below this package; those of extras have their own way.
_MODULES = {
    "Event": "models",
    "FileStorage": "store.file",
    "Limits": "models",
    "MemoryStorage": "store.memory",
    "PackageInstaller": "packages.installer",
    "RunResult": "models",
    "Session": "sessions.session",
    "SessionState": "models",
}
_EXTRAS = {
    "RedisStorage": ("store.redis_extra", "redis_storage"),
    "SessionClient": ("client.extra", "session_client"),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Hidden from type checkers, which would take every name for one that is here.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a name when it is first asked for: the store command needs few, some an extra."""
        if name in _EXTRAS:
            module, function = _EXTRAS[name]
            value: object = getattr(import_module(f"{__name__}.{module}"), function)()
        elif name in _MODULES:
            value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
