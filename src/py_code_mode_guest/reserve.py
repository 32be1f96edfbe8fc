"""Memory set aside, so that a session at its limit can still answer and be tidied up.

The reserve is mapped and never touched: it counts against the limit and costs no page. A run that
meets the limit gets it for its traceback, and the next run for the ``del`` that makes room.
"""

from __future__ import annotations

import gc
import mmap
from typing import Final

from py_code_mode_guest import syscalls

_SIZE: Final = 8 * 1024 * 1024


class Reserve:
    """One session's reserve."""

    def __init__(self) -> None:
        self._held: mmap.mmap | None = None
        self.renew()

    def renew(self) -> None:
        """Set the memory aside again, where there is that much."""
        if self._held is None:
            try:
                self._held = mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except (OSError, MemoryError):
                return

    def spend(self) -> None:
        """Let go of the reserve, and run none of agent code's finalisers."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def release(self) -> None:
        """Make room: the reserve, garbage, and what the allocator has and does not use."""
        self.spend()
        gc.collect()
        trim = getattr(syscalls.libc(), "malloc_trim", None)
        if trim is not None:
            trim(0)
