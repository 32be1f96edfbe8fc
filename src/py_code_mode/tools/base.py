"""What every kind of tool shares: the jail its programs run in, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from py_code_mode.models import Program, ProgramEnd


class Jail(Protocol):
    """One session's jail: its folder as the only writable place, no files of the server."""

    async def run(self, program: Program) -> ProgramEnd:
        """Run a program to its end; nothing it started is left. Raises WorkerStartError."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The session on whose behalf an operation runs; ``time_left`` in seconds of its run."""

    jail: Jail
    time_left: Callable[[], float]
