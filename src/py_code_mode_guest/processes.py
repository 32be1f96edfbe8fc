"""Process groups, ended at once with all that is in them; and how many processes there are."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Set


def end_group(leader: int, spared: Set[int]) -> None:
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
    kill_groups(each for each in (os.getsid(leader), leader) if each not in spared)


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
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{jail}/task"):
            with open(f"/proc/{jail}/task/{thread}/children", encoding="ascii") as file:
                groups |= {os.getpgid(int(child)) for child in file.read().split()}
    return groups - {jail}


def threads_in_all() -> int:
    """Return how many threads the machine has."""
    with open("/proc/loadavg", encoding="ascii") as file:
        return int(file.read().split()[3].partition("/")[2])
