"""Ends of tools: those that do not come, take everything down, or leave something behind."""

from __future__ import annotations

import pytest

from hostile.arena import LIMITS, Arena
from hostile.attempt import (
    ABI_1,
    ABI_3,
    CRASHED,
    MAIN,
    NO_LANDLOCK,
    OWN_UID,
    UNPRIVILEGED,
    WITH_LANDLOCK,
    Attempt,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, ABI_1, ABI_3, NO_LANDLOCK)
FINE = frozenset({"fine"})
SLOW = (OWN_UID, UNPRIVILEGED)

ATTEMPTS = (
    *(
        Attempt(
            f"has a tool that {what}",
            stopped_by,
            f"""tried(lambda: tools.{tool}(script={script!r} % {{"mark": HOST["mark"]}}))""",
            sees,
            setups,
            timeout_s=10,
        )
        for what, tool, script, sees, setups, stopped_by in (
            (
                "never ends",
                "quick",
                "exec sleep %(mark)d",
                frozenset({"ToolTimeoutError"}),
                SETUPS,
                "its time-out: the whole group is killed",
            ),
            (
                "closes its outputs and never ends",
                "quick",
                "exec >&- 2>&- <&-; exec sleep %(mark)d",
                frozenset({"ToolTimeoutError"}),
                SETUPS,
                "its time-out",
            ),
            (
                "ignores every signal",
                "quick",
                "trap '' 1 2 3 13 15; sleep %(mark)d; sleep %(mark)d",
                frozenset({"ToolTimeoutError"}),
                SETUPS,
                "SIGKILL",
            ),
            (
                "stops itself",
                "quick",
                "kill -STOP 0; exec sleep %(mark)d",
                frozenset({"ToolTimeoutError"}),
                SETUPS,
                "SIGKILL",
            ),
            (
                "kills its own group",
                "sh",
                "sleep %(mark)d & kill -9 0",
                frozenset({"ToolCallError"}),
                SETUPS,
                "nothing: the group is its own",
            ),
            (
                "kills its parent",
                "sh",
                "kill -9 $PPID; exit 7",
                frozenset({"ToolCallError"}),
                WITH_LANDLOCK,
                "Landlock from ABI 6; below that seccomp or its uid",
            ),
            (
                "floods its output",
                "quick",
                "yes %(mark)d",
                frozenset({"ToolError"}),
                SETUPS,
                "the limit on output",
            ),
            (
                "floods both outputs",
                "quick",
                "yes %(mark)d >&2 & yes %(mark)d",
                frozenset({"ToolError"}),
                SETUPS,
                "one limit for both",
            ),
            (
                "leaves daemons",
                "sh",
                "(setsid sleep %(mark)d &); (nohup setsid sleep %(mark)d >/dev/null 2>&1 &); sleep %(mark)d & echo -n",
                frozenset({"done: ''"}),
                SETUPS,
                "the group is killed when the program ends",
            ),
            (
                "leaves daemons that hold its outputs",
                "sh",
                "sleep %(mark)d & echo -n",
                frozenset({"done: ''"}),
                SETUPS,
                "the group is killed when the program ends",
            ),
            (
                "fails after leaving daemons",
                "sh",
                "sleep %(mark)d & sleep %(mark)d & exit 5",
                frozenset({"ToolCallError"}),
                SETUPS,
                "the group is killed when the program ends",
            ),
            (
                "fills a file",
                "sh",
                "exec head -c 40000000 /dev/zero > large",
                frozenset({"ToolCallError"}),
                SLOW,
                "RLIMIT_FSIZE",
            ),
            (
                "takes memory",
                "sh",
                "x=x; while :; do x=$x$x; done",
                frozenset({"ToolCallError"}),
                SLOW,
                "RLIMIT_DATA",
            ),
        )
    ),
    Attempt(
        "has a tool that fills the folder",
        "the watch measures the folder and ends the session",
        f"""
        big = ' '.join(str(n) for n in range({LIMITS.disk_mb}))
        tools.sh(script=f"for i in {{big}}; do head -c 2000000 /dev/zero > $i; done; sleep 5")
        """,
        CRASHED,
        setups=SLOW,
        timeout_s=10,
    ),
    Attempt(
        "has a tool whose children flood after its end",
        "the group is killed, and what is left in the pipes is taken up to the limit",
        """tried(lambda: tools.sh(script="yes %d & yes %d >&2 & exit 0" % ((HOST["mark"],) * 2))); "fine" """,
        FINE,
        setups=SLOW,
    ),
    Attempt(
        "has a tool that forks without end",
        "RLIMIT_NPROC; uid 0, which it does not bound, has the time-out alone",
        """tried(lambda: tools.sh(script="b() { b | b & sleep %d; }; b" % HOST["mark"]))""",
        frozenset({"ToolCallError", "ToolTimeoutError", "ToolError", "ExecutionTimeoutError"}),
        setups=SLOW,
        timeout_s=2,
    ),
    Attempt(
        "has a tool that outlives the run's deadline",
        "a tool has the time that its run has left",
        """tools.sh(script="exec sleep %d" % HOST["mark"])""",
        frozenset({"ToolTimeoutError", "ExecutionTimeoutError"}),
        timeout_s=0.5,
    ),
    Attempt(
        "waits for a tool in a thread when its run ends",
        "a run's calls end with it",
        """
        def go(): tried(lambda: tools.sh(script="sleep %d & exec sleep %d" % ((HOST["mark"],) * 2)))
        threading.Thread(target=go, daemon=True).start(); time.sleep(0.2); "fine"
        """,
        FINE,
    ),
    Attempt(
        "crashes while its tools run",
        "its jail and their programs end with the worker",
        """
        def go(): tools.sh(script="sleep %d & exec sleep %d" % ((HOST["mark"],) * 2))
        threading.Thread(target=go, daemon=True).start(); time.sleep(0.2); os._exit(3)
        """,
        CRASHED,
    ),
)


async def test_a_tool_ends_with_its_call(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
