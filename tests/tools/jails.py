"""Jails for tests: one that only remembers, one that runs programs without any enforcement."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

from py_code_mode.errors import WorkerStartError
from py_code_mode.models import Program, ProgramEnd
from py_code_mode.tools.base import Caller, Jail

WELL = ProgramEnd(0, b"", b"")


class RecordingJail:
    """Remembers what it was asked to run and answers with ``end``."""

    def __init__(self, end: ProgramEnd | WorkerStartError = WELL) -> None:
        self.end = end
        self.programs: list[Program] = []

    async def run(self, program: Program) -> ProgramEnd:
        self.programs.append(program)
        if isinstance(self.end, WorkerStartError):
            raise self.end
        return self.end

    @property
    def argv(self) -> list[str]:
        """What followed the last program's name."""
        return list(self.programs[-1].argv[1:])


class BareJail:
    """Runs programs in a folder, as anybody could: for what they do, not for what they must not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(self, program: Program) -> ProgramEnd:
        return await asyncio.to_thread(self._run, program)

    def _run(self, program: Program) -> ProgramEnd:
        done = subprocess.run(
            program.argv,
            env={"HOME": str(self._folder), **program.env},
            cwd=self._folder,
            input=program.stdin,
            capture_output=True,
            timeout=program.timeout_s,
            check=False,
        )
        return ProgramEnd(done.returncode, done.stdout, done.stderr)


async def plenty(_size: int) -> None:
    """Has memory for every answer."""


def caller(jail: Jail, time_left: Callable[[], float] = lambda: 60.0) -> Caller:
    """Returns a caller whose run has a minute left."""
    return Caller(jail, time_left, plenty)
