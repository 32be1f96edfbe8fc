"""Where packages are built from source: a worker nobody has used lends its jail, and is discarded.

So a build is confined as the programs of tools are, and has a uid and a folder that nobody else
has. The worker itself runs nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from typing import Final

from py_code_mode.models import MIB, Program, ProgramEnd
from py_code_mode.packages.watching import watched
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker
from py_code_mode_guest.fetch import LEAST_LANDLOCK_ABI

_PYTHON: Final = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
_FETCH: Final = (sys.executable, "-I", "-B", "-m", "py_code_mode_guest.fetch")
_BUILD: Final = files("py_code_mode_guest").joinpath("build.py")
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Builds:
    """What the installer needs of a pool to build packages."""

    def __init__(self, pool: Pool, *, disk_mb: int) -> None:
        """Lend the jails of ``pool``; each build may fill ``disk_mb`` of its folder."""
        self._pool = pool
        self._disk_mb = disk_mb

    @property
    def problem(self) -> str | None:
        """Why nothing can be built here; None where it can."""
        if self._pool.tier == "none":
            return "the sandbox is off"
        abi = self._pool.kernel.landlock
        if abi < LEAST_LANDLOCK_ABI:
            return f"that needs Landlock ABI {LEAST_LANDLOCK_ABI} (Linux 5.19), and here is {abi}"
        return None

    def fetching(
        self, program: Program, *, readable: Sequence[str], writable: Sequence[str]
    ) -> Program:
        """Return the program confined: it reads and writes no more than that, and runs nothing."""
        request = {"argv": program.argv, "readable": list(readable), "writable": list(writable)}
        return replace(program, argv=(*_FETCH, json.dumps(request)))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[BuildJail]:
        """Give a jail that nothing else uses. Raises WorkerStartError."""
        script = await asyncio.to_thread(_BUILD.read_text, encoding="utf-8")
        worker = await self._pool.checkout()
        try:
            yield BuildJail(self._pool, worker, script, disk_mb=self._disk_mb)
        finally:
            self._pool.discard(worker)


class BuildJail:
    """One jail for one build."""

    def __init__(self, pool: Pool, worker: Worker, script: str, *, disk_mb: int) -> None:
        self._pool = pool
        self._worker = worker
        self._script = script
        self._disk_mb = disk_mb

    async def step(
        self, *arguments: str, stdin: bytes = b"", timeout_s: float, max_output_bytes: int
    ) -> ProgramEnd:
        """Run a step of ``py_code_mode_guest/build.py``, without a network.

        One that fills the disk is ended, and says so as its ``reason``. Raises WorkerStartError.
        """
        program = Program(
            argv=(_PYTHON, "-I", "-c", self._script, *arguments),
            env=_ENVIRONMENT,
            stdin=stdin,
            timeout_s=timeout_s,
            max_output_bytes=max_output_bytes,
            network=False,
        )
        end = await watched(self._pool.jails.of(self._worker).run(program), self._is_full)
        if end is None:
            return ProgramEnd(None, b"", b"", reason=f"it takes over {self._disk_mb:,} MB")
        return end

    async def _is_full(self) -> bool:
        sizes = await self._pool.measure([self._worker])
        return sizes.get(self._worker.id, 0) > self._disk_mb * MIB
