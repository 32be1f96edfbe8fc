"""A place for LLM agents to write Python: persistent, sandboxed sessions."""

from py_code_mode._version import __version__
from py_code_mode.models import Event, Limits, RunResult, SessionState
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.sessions.session import Session
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryStorage

__all__ = [
    "Event",
    "FileStorage",
    "Limits",
    "MemoryStorage",
    "PackageInstaller",
    "RunResult",
    "Session",
    "SessionState",
    "__version__",
]
