"""What is said of a worker process that has ended: one sentence for agents and operators."""

from __future__ import annotations

import signal


def obituary(cause: str, exit_code: int | None) -> str:
    """Return the sentence for a cause of WorkerCrashed and an exit code as Popen gives it."""
    ended = {
        "timeout": "did not stop at its deadline and was killed",
        "interrupt": "did not stop when interrupted and was killed",
        "violation": "broke the protocol and was killed",
        "disk": "filled its folder beyond the limit and was killed",
        "threads": "started too many threads and was killed",
        "memory": "took more shared memory than allowed and was killed",
        "cpu": "kept computing after its answer and was killed",
        "closed": "was closed",
    }.get(cause)
    if ended is None:
        ended = _exit(exit_code)
    return f"The session's process {ended}."


def _exit(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"was ended by {name}"
