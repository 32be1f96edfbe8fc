"""Frozen data that crosses the layers: limits, results and the records that listings return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NewType

SessionId = NewType("SessionId", str)

#: What a run's value, an argument and an artifact's JSON data are made of (bytes in the library).
Value = Any  # recursive JSON-like type; mypy's recursive aliases make every use site noisy

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session, and one host, may use; each name says its unit."""

    execution_timeout_s: float = 60.0
    max_execution_timeout_s: float = 360.0
    interrupt_grace_s: float = 2.0
    memory_mb: int = 512
    disk_mb: int = 256
    max_file_mb: int = 128
    max_open_files: int = 256
    max_threads: int = 64
    max_output_bytes: int = MIB
    max_code_bytes: int = MIB
    max_artifact_bytes: int = 64_000_000  # what fits one frame from the guest
    max_pending_calls: int = 64
    calls_memory_mb: int = 256  # large calls and answers of all sessions, in the host
    max_tool_calls: int = 1000  # of one run
    max_queue: int = 16
    max_sessions: int = 200
    pool_size: int = 2
    session_idle_timeout_s: float = 3600.0
    idle_cpu_s: float = 2.0


class Record(Mapping[str, Any]):
    """A read-only record: ``x.name`` is ``x["name"]``, and ``dict(x)`` its JSON object."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> tuple[str, ...]:
        always, of_searches = _names_of(type(self))
        found = tuple(name for name in of_searches if getattr(self, name) is not None)
        return always + found if found else always


#: Fields that belong to the results of searches alone: ``score``, best first, and ``ranking``,
#: which is ``lexical`` where the operator let words do for meaning while that was unavailable.
_OF_SEARCHES = ("score", "ranking")


@cache
def _names_of(kind: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields a record always has, and of those that searches give it."""
    names = [field.name for field in fields(kind)]
    always = tuple(name for name in names if name not in _OF_SEARCHES)
    return always, tuple(name for name in names if name in _OF_SEARCHES)


@dataclass(frozen=True, slots=True, eq=False)
class SkillRecord(Record):
    """What a listing says of a skill; ``created_at`` is ISO 8601 in UTC, ``version`` from 1."""

    name: str
    description: str
    parameters: list[dict[str, Any]]
    version: int
    author: str
    origin: str
    created_at: str
    score: float | None = None
    ranking: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SkillDetail(SkillRecord):
    """A skill with its Python source."""

    source: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ArtifactRecord(Record):
    """What is known of an artifact without reading it; ``size`` in bytes of the stored body."""

    name: str
    description: str
    media_type: str
    size: int
    metadata: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True, eq=False)
class ToolRecord(Record):
    """What a listing says of a tool; ``callables`` are the names below it (recipes, operations)."""

    name: str
    description: str
    tags: list[str]
    callables: list[str]
    score: float | None = None
    ranking: str | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """A value richer than JSON as the guest encoded it: opaque bytes with a media type."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class SessionState:
    """What is true of a session's variables after a run (see ``docs/reference/results.md``)."""

    generation: int
    lost: bool = False
    durable: bool = False
    not_restored: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunResult:
    """The answer to a run. ``error`` is the traceback as the model should see it, or None."""

    value: Value
    stdout: str
    stderr: str
    error: str | None
    error_type: str | None
    execution_time_ms: float
    session_id: str
    state: SessionState
    displays: list[dict[str, str | bytes]] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        """True where the code ran to its end without an exception."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run.

    ``kind`` and ``data``: ``stdout``, ``stderr`` ``{"text": …}``; ``display`` ``{"bundle": …}``;
    ``tool_call`` ``{"name", "status", "ms"}`` (status ``ok`` or ``error``);
    ``result`` the RunResult, always last.
    """

    kind: str
    data: Any


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run in a session's jail.

    ``argv[0]`` is an absolute path; ``env`` is the whole environment it gets; ``ports`` are the
    TCP ports it may connect to (None: any), enforced where the kernel can.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes = b""
    timeout_s: float = 60.0
    max_output_bytes: int = MIB
    network: bool = True
    ports: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a program ended. ``exit_code`` is negative for a signal, None where it never started.

    ``reason`` says why it did not start; ``truncated`` that output was over the limit, at which the
    program is ended.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False
    reason: str = ""
