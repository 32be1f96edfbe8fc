"""Ending every process of a kernel session."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

#: Rounds of looking for processes that were just being forked.
_SWEEPS: Final = 10


def end_session(leader: int) -> None:
    """Kill every process of a kernel session, whose leader has ended.

    A program cannot leave the session of its jail (``tool_policy``), so none is missed.
    """
    for _ in range(_SWEEPS):
        found = [pid for pid in _pids() if _session_of(pid) == leader]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _session_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[3])
