"""The machine a run was made on, told without names and paths."""

from __future__ import annotations

import os
import platform

from benchmarks.workbench import new_pool

Facts = dict[str, str | int]


async def facts() -> Facts:
    """Return what the figures depend on: cores, kernel, Python and the sandbox in force."""
    async with new_pool() as pool:
        landlock, tier = pool.kernel.landlock, pool.tier
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sandbox tier": tier,
        "landlock abi": landlock,
        "load at the start": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2] for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].strip() if names else platform.machine()
