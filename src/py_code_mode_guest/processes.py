"""Process groups, ended at once with all that is in them; and how many processes there are."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator


def end_group(leader: int, spared: Callable[[int], bool]) -> None:
    """Kill what a jail left, told by an orphan of it that has ended and is not reaped yet.

    The leader of a program's group is a zombie and its jail's own child (``jail.py``): it is an
    orphan only once the jail has ended. An orphan that leads no group tells nothing, and its group
    may be that of a program under way.

    Invariant: both numbers are pinned by the zombie, so no stranger can have them. First the jail's
    own group, which a program leaves before it is one: whatever was about to join cannot any more.
    A living worker is ``spared``: without a sandbox it may have such children too.
    """
    if os.getpgid(leader) != leader:
        return
    kill_groups(each for each in (os.getsid(leader), leader) if not spared(each))


def kill_groups(groups: Iterable[int]) -> None:
    """Kill every process of these groups; each group at once, so that nobody in it forks on."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def groups_of(jail: int) -> set[int]:
    """Return the groups of a living jail's programs, those that the kernel tells of.

    Some kernels do not list children; what is missing here ends with :func:`end_group`.
    """
    groups = set()
    for child in _children(jail):
        with contextlib.suppress(ProcessLookupError):  # it has just been reaped
            if os.getsid(child) == jail:  # and its number is nobody else's
                groups.add(os.getpgid(child))
    return groups - {jail}


def threads_in_all() -> int:
    """Return how many threads the machine has."""
    with open("/proc/loadavg", encoding="ascii") as file:
        return int(file.read().split()[3].partition("/")[2])


def _children(process: int) -> Iterator[int]:
    """Yield the children of all threads of a process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with (
                contextlib.suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as file,
            ):
                yield from map(int, file.read().split())
