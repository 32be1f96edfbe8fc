"""Runs one program to its end, in a process group of its own that never outlives the call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from py_code_mode.models import MIB, Program, ProgramEnd

#: Runs a program with the first of the folders as its cwd; it may write below all of them and
#: nowhere else. Returns how it ended; a cancelled caller ends it with everything it started.
Run = Callable[[Program, Sequence[str]], Awaitable[ProgramEnd]]

_CHUNK: Final = 64 * 1024
_DRAIN_S: Final = 1.0
_NICENESS: Final = 10
#: A source of 12 MB, which anybody may publish, takes 4 GB to compile.
_MAX_MEMORY: Final = 2048 * MIB


async def run_program(
    program: Program, writable: Sequence[str], *, max_file_bytes: int
) -> ProgramEnd:
    """Run a program that we trust not to write elsewhere; no file may become larger than said.

    Memory is bounded too, and these programs are the first to go where the machine runs out of it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            env=dict(program.env),
            cwd=writable[0],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return ProgramEnd(None, b"", b"", reason=error.strerror or str(error))
    _limit(process.pid, max_file_bytes)
    assert process.stdout is not None  # noqa: S101 - both were asked for
    assert process.stderr is not None  # noqa: S101
    stdout = _Output(process.stdout, program.max_output_bytes, process.pid)
    stderr = _Output(process.stderr, program.max_output_bytes, process.pid)
    readers = [asyncio.create_task(output.read()) for output in (stdout, stderr)]
    try:
        timed_out = await _ends_late(process, program.timeout_s)
        await asyncio.wait(readers, timeout=_DRAIN_S)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return ProgramEnd(
        process.returncode,
        bytes(stdout.data),
        bytes(stderr.data),
        timed_out=timed_out,
        truncated=stdout.over or stderr.over,
    )


async def _ends_late(process: asyncio.subprocess.Process, timeout_s: float) -> bool:
    """Wait for the program and end its whole group; True where its time was up first."""
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        return True
    finally:
        _kill_group(process.pid)
        await process.wait()
    return False


class _Output:
    """What is kept of one stream; a program that writes more is ended."""

    def __init__(self, stream: asyncio.StreamReader, max_bytes: int, group: int) -> None:
        self.data = bytearray()
        self.over = False
        self._stream = stream
        self._max_bytes = max_bytes
        self._group = group

    async def read(self) -> None:
        while chunk := await self._stream.read(_CHUNK):
            room = self._max_bytes - len(self.data)
            self.data += chunk[:room]
            if len(chunk) > room and not self.over:
                self.over = True
                _kill_group(self._group)


def _limit(pid: int, max_file_bytes: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        resource.prlimit(pid, resource.RLIMIT_DATA, (_MAX_MEMORY, _MAX_MEMORY))
        # Sessions come first; what it starts inherits this.
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    with contextlib.suppress(OSError):  # gone, or a supervisor that fixed it
        descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
        with open(descriptor, "wb") as file:
            file.write(b"1000")


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
