"""One attempt, and the set-ups it is made in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from py_code_mode.models import RunResult

#: What every attempt finds defined.
PRELUDE: Final = (Path(__file__).parent / "prelude.py").read_text(encoding="utf-8")

#: How a refusal reads: by the filter, by Landlock or file modes, by a call that is not there.
REFUSED: Final = frozenset({"EPERM", "EACCES", "ENOSYS"})
#: How the end of a worker reads, and a run that only the kill could end.
CRASHED: Final = frozenset({"lost: WorkerCrashed"})
TIMED_OUT: Final = frozenset({"lost: ExecutionTimeoutError"})
#: Any value at all, but a value.
ANY: Final = frozenset({"any"})


@dataclass(frozen=True)
class Setup:
    """One way the kernel may confine a guest; ``command`` is put before the zygote's interpreter.

    With ``egress``, the guest may connect to where ``names.py`` says.
    """

    name: str
    tier: str
    command: tuple[str, ...] = ()
    max_landlock_abi: int = 99
    needs_root: bool = True
    egress: bool = False


OWN_UID: Final = Setup("own-uid", "A")
NO_CAPABILITIES: Final = Setup(
    "root-without-capabilities", "B", ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
)
UNPRIVILEGED: Final = Setup(
    "unprivileged",
    "B",
    ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else (),
    needs_root=False,
)
ABI_1: Final = Setup("landlock-abi-1", "B", UNPRIVILEGED.command, 1, needs_root=False)
ABI_3: Final = Setup("landlock-abi-3", "B", UNPRIVILEGED.command, 3, needs_root=False)
NO_LANDLOCK: Final = Setup("no-landlock", "C", max_landlock_abi=0)

MAIN: Final = (OWN_UID, NO_CAPABILITIES, UNPRIVILEGED)
ALL: Final = (*MAIN, ABI_1, ABI_3, NO_LANDLOCK)
#: For what Landlock alone stops: where there is none, files that the world may read are read.
WITH_LANDLOCK: Final = (*MAIN, ABI_1, ABI_3)


@dataclass(frozen=True)
class Attempt:
    """What a guest tries. ``name`` completes "a guest …"; ``stopped_by`` says why it fails.

    Whatever it tries, nothing outside of its session may have changed; see ``arena.py``.

    Args:
        code: Python; its last expression, a word or a list of words, says what came of it.
        sees: The words it may end in: errno names, an exception's name, ``lost: <error type>``.
        timeout_s: The deadline of the run.
        wait_s: How long its threads go on after the answer, before the next run.
        loses: Whether the next run is told that variables were lost in between.
        growth_mb: By how much the host's memory may peak meanwhile.
        hole: Why it succeeds as yet; such an attempt is expected to fail the test.
    """

    name: str
    stopped_by: str
    code: str
    sees: frozenset[str] = REFUSED
    setups: tuple[Setup, ...] = ()
    timeout_s: float = 5.0
    wait_s: float = 0.0
    loses: bool = False
    growth_mb: int = 64
    hole: str = ""

    def source(self, facts: dict[str, Any]) -> str:
        """Return what the guest runs."""
        return f"{PRELUDE}\nHOST.update({facts!r})\n{dedent(self.code).strip()}\n"


def words(result: RunResult) -> frozenset[str]:
    """Return what a run came to, in the words of ``Attempt.sees``."""
    if result.error_type is not None:
        return frozenset({f"lost: {result.error_type}" if result.state.lost else result.error_type})
    value = result.value
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset({str(value)})


def is_as_seen(result: RunResult, sees: frozenset[str]) -> bool:
    """Say whether a run came to one of these words."""
    return words(result) <= sees or (sees == ANY and result.error_type is None)
