"""Keeps every core busy at idle priority: the bounds are stated for busy cores.

A core that sleeps has to be woken, which in a virtual machine costs more than a whole run; what is
measured then is the machine. A loop of the idle class yields to everything else at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LOOP = (
    "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); parent = os.getppid()\n"
    "while os.getppid() == parent:\n    for _ in range(10**6): pass"
)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep the cores this process may use busy for as long as the block takes."""
    loops = [
        subprocess.Popen([sys.executable, "-I", "-c", _LOOP])
        for _ in range(len(os.sched_getaffinity(0)))
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
