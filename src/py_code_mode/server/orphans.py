"""Burying what nobody else will: process 1 of a container is the parent of everybody's orphans."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_PAUSE_S: Final = 2.0
_SHORT_PAUSE_S: Final = 0.2


@asynccontextmanager
async def orphans_buried() -> AsyncIterator[None]:
    """Reap, while this is open, every child that has ended and that nobody waits for."""
    task = asyncio.create_task(_bury())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _bury() -> None:
    """Reap a child that is found twice.

    Whoever starts a process here waits for it: the event loop when the signal of its end comes, and
    so before it comes back here, or a thread. What is left then, somebody else has left behind. (A
    zygote that was not waited for yet is none the worse for it: its end is known otherwise.)
    """
    seen = 0
    while True:
        await asyncio.sleep(_SHORT_PAUSE_S if seen else _PAUSE_S)
        while (found := _ended()) and found == seen:
            _reap(found)
        seen = found


def _ended() -> int:
    """Return the pid of a child that has ended, and leave it; 0 for none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # somebody waited for it after all
        os.waitpid(pid, os.WNOHANG)
