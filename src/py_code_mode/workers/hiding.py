"""Hiding a process of ours from the others of its uid."""

from __future__ import annotations

import sys

from py_code_mode_guest import lockdown


def hide_process() -> None:
    """Leave environment, memory and descriptors of this process to none but root, in ``/proc`` too.

    Call it after the last change of uid; exec and such a change undo it. Without Landlock and with
    one uid for all (tier D) nothing else would keep a tool's program out.
    """
    if sys.platform == "linux":
        lockdown.set_dumpable(dumpable=False)
