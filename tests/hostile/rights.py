"""What this process may do, and so which set-ups it can make: a container's root has little left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_NAMES: Final = ("CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID", "SETPCAP", "SYS_PTRACE")
_BITS: Final = dict(zip(_NAMES, (0, 1, 5, 6, 7, 8, 19), strict=True))


def have(*names: str) -> bool:
    """Say whether this process has these capabilities."""
    return all(_effective() >> _BITS[name] & 1 for name in names)


def is_root_without_any() -> bool:
    """Say whether this is root in name alone."""
    return os.geteuid() == 0 and not _effective()


def _effective() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(":", 1) for line in lines)["CapEff"], 16)
