"""The reference page: one row per attempt. ``python -m hostile``, in ``tests/``, prints it."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from hostile import (
    test_bombs,
    test_egress,
    test_files,
    test_frames,
    test_kernel,
    test_network,
    test_packages,
    test_processes,
    test_secrets,
    test_tool_arguments,
    test_tool_endings,
    test_tool_programs,
    test_tools,
)
from hostile.attempt import ALL, MAIN, Attempt, Setup

_FILES: Final = (
    test_secrets,
    test_processes,
    test_files,
    test_network,
    test_egress,
    test_kernel,
    test_bombs,
    test_frames,
    test_tools,
    test_tool_arguments,
    test_tool_programs,
    test_tool_endings,
    test_packages,
)
_SETUP_NOTES: Final = {
    "own-uid": "as root: each session has a uid of its own (tier A)",
    "root-without-capabilities": "uid 0 for all, no capabilities (tier B)",
    "unprivileged": "one ordinary uid for all (tier B)",
    "landlock-abi-1": "unprivileged, as on a kernel with Landlock ABI 1 (tier B)",
    "landlock-abi-3": "unprivileged, as on a kernel with Landlock ABI 3 (tier B)",
    "no-landlock": "as root on a kernel without Landlock (tier C)",
}
_HEAD: Final = """# The hostile suite

What the tests in `tests/hostile/` try from inside a session, and what stops it. Each attempt
asserts that nothing outside of the session changed (files, connections, signals, other sessions,
limits, mounts), that the host's memory and event loop stayed flat, that the answer says what
happened, and that the next run works.

Attempts are made in these set-ups:

"""


def page() -> str:
    """Return the page as Markdown."""
    total = sum(len(_attempts(module)) for module in _FILES)
    notes = "".join(f"- `{setup.name}`: {_SETUP_NOTES[setup.name]}\n" for setup in ALL)
    sections = "".join(_section(module) for module in _FILES)
    return f"{_HEAD}{notes}\nThere are {total} attempts. A guest …\n{sections}"


def _section(module: ModuleType) -> str:
    title, _, _ = (module.__doc__ or "").partition("\n")
    setups: tuple[Setup, ...] = getattr(module, "SETUPS", MAIN)
    rows = "".join(_row(attempt, setups) for attempt in _attempts(module))
    head = "| attempt | what stops it | set-ups |\n|---|---|---|\n"
    return f"\n## {title.partition(':')[0].rstrip('.')}\n\n{head}{rows}"


def _row(attempt: Attempt, setups: tuple[Setup, ...]) -> str:
    made_in = [s.name for s in setups if s in (attempt.setups or setups)]
    names = "all" if made_in == [s.name for s in ALL] else ", ".join(made_in)
    stopped = f"**nothing yet**: {attempt.hole}" if attempt.hole else attempt.stopped_by
    return f"| {attempt.name} | {stopped} | {names} |\n".replace("\\n", " ")


def _attempts(module: ModuleType) -> tuple[Attempt, ...]:
    attempts: tuple[Attempt, ...] = module.ATTEMPTS
    return attempts
