"""What every kind of tool shares: the jail its programs run in, and who is calling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from py_code_mode.models import Program, ProgramEnd, ToolRecord


class Jail(Protocol):
    """One session's jail: its folder as the only writable place, no files of the server."""

    async def run(self, program: Program) -> ProgramEnd:
        """Run a program to its end; nothing it started is left. Raises WorkerStartError."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The session on whose behalf an operation runs; ``time_left`` in seconds of its run.

    ``make_room`` waits until the host has memory for an answer of so many bytes.
    """

    jail: Jail
    time_left: Callable[[], float]
    make_room: Callable[[int], Awaitable[None]]


class CallableDetail(TypedDict):
    """What is told of one callable; ``name`` is empty for the tool itself."""

    name: str
    signature: str
    description: str
    doc: str


class ToolDetail(TypedDict):
    """What is told of one tool: first the tool itself, then each callable below it."""

    name: str
    description: str
    callables: list[CallableDetail]


class Tool(Protocol):
    """One tool of whatever kind: what a listing and ``help`` say of it, and how it is called."""

    @property
    def record(self) -> ToolRecord:
        """What a listing says of it."""

    def describe(self) -> ToolDetail:
        """Return what ``help`` says of it."""

    def words(self) -> str:
        """Return the text that a search reads: descriptions, tags, names of all it has."""

    def words_of_callables(self) -> Mapping[str, str]:
        """Return the same for each callable below the tool, by its name."""

    async def call(
        self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], caller: Caller
    ) -> Any:
        """Call the tool itself (None) or the callable ``name`` below it.

        Raises:
            ToolNotFoundError: where it has no such callable; names close matches.
            InvalidArgumentError: before anything runs, for arguments that do not fit.
            ToolError: for whatever went wrong then.
        """
