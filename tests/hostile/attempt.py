"""One attempt, and the set-ups it is made in."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from hostile.rights import have, is_root_without_any
from py_code_mode.models import RunResult

#: What every attempt finds defined.
PRELUDE: Final = (Path(__file__).parent / "prelude.py").read_text(encoding="utf-8")

#: How a refusal reads: by the filter, by Landlock or file modes, by a call that is not there.
REFUSED: Final = frozenset({"EPERM", "EACCES", "ENOSYS"})
#: What a read-only system says before anybody else is asked.
READ_ONLY: Final = frozenset({"EROFS"} if os.statvfs("/usr").f_flag & os.ST_RDONLY else ())
#: How the end of a worker reads, and a run that only the kill could end.
CRASHED: Final = frozenset({"lost: WorkerCrashed"})
TIMED_OUT: Final = frozenset({"lost: ExecutionTimeoutError"})
#: Any value at all, but a value.
ANY: Final = frozenset({"any"})


@dataclass(frozen=True)
class Setup:
    """One way the kernel may confine a guest; ``command`` is put before the zygote's interpreter.

    With ``egress``, the guest may connect to where ``names.py`` says. ``possible`` says whether this
    process has what making it takes; for root, that is up to its container.
    """

    name: str
    tier: str
    command: tuple[str, ...] = ()
    max_landlock_abi: int = 99
    needs_root: bool = True
    egress: bool = False
    possible: bool = True


_OWN_UIDS: Final = have("CHOWN", "KILL", "SETGID", "SETUID")
#: To become another, and to look into its folders all the same.
_ANOTHER: Final = os.geteuid() != 0 or have("SETGID", "SETUID", "DAC_OVERRIDE")
_NONE: Final = is_root_without_any()

OWN_UID: Final = Setup("own-uid", "A", possible=_OWN_UIDS)
NO_CAPABILITIES: Final = Setup(
    "root-without-capabilities",
    "B",
    () if _NONE else ("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
    possible=_NONE or have("SETPCAP"),
)
UNPRIVILEGED: Final = Setup(
    "unprivileged",
    "B",
    ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else (),
    needs_root=False,
    possible=_ANOTHER,
)
#: Of older kernels: with one uid for all, as that of root in name alone is too.
_OLDER: Final = replace(
    UNPRIVILEGED, command=() if _NONE else UNPRIVILEGED.command, possible=_NONE or _ANOTHER
)
ABI_1: Final = replace(_OLDER, name="landlock-abi-1", max_landlock_abi=1)
ABI_3: Final = replace(_OLDER, name="landlock-abi-3", max_landlock_abi=3)
NO_LANDLOCK: Final = Setup("no-landlock", "C", max_landlock_abi=0, possible=_OWN_UIDS)

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
