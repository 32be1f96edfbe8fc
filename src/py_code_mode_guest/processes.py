"""The processes of a kernel session, ended all at once; and how many there are in all."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Final, NamedTuple

#: Rounds of looking for processes that were just being forked.
_SWEEPS: Final = 10


class _Process(NamedTuple):
    group: int
    session: int


def end_session(leader: int) -> None:
    """Kill every process of a kernel session, whose leader has ended.

    A program cannot leave the session of its jail (``tool_policy``), so none is missed. By group,
    since a group is killed at once, and nobody in it forks meanwhile.
    """
    for _ in range(_SWEEPS):
        groups = {process.group for process in _processes() if process.session == leader}
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        if not groups:
            return


def threads_in_all() -> int:
    """Return how many threads the machine has."""
    with open("/proc/loadavg", encoding="ascii") as file:
        return int(file.read().split()[3].partition("/")[2])


def _processes() -> Iterator[_Process]:
    """Yield the processes that have not ended."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            if fields[0] != "Z":
                yield _Process(int(fields[2]), int(fields[3]))
