"""Bombs: what uses too much, ends too hard, or does not end; and values made to break an answer."""

from __future__ import annotations

import sys

import pytest

from hostile.arena import LIMITS, Arena
from hostile.attempt import ANY, CRASHED, OWN_UID, TIMED_OUT, UNPRIVILEGED, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
MEMORY = frozenset({"MemoryError"})
FINE = frozenset({"fine"})
INTERRUPTED = frozenset({"ExecutionTimeoutError"})
C_LIMIT = frozenset({"RecursionError"} if sys.version_info >= (3, 12) else ())
#: For what takes seconds: with a uid of its own, and with one for all.
SLOW = (OWN_UID, UNPRIVILEGED)

ATTEMPTS = (
    Attempt(
        "forks in a loop",
        "seccomp: no fork",
        """[tried(os.fork) for _ in range(1000)]""",
    ),
    Attempt(
        "takes memory at once",
        "RLIMIT_DATA: the memory limit over the size of the zygote",
        """x = bytearray(2 << 30)""",
        MEMORY,
    ),
    Attempt(
        "takes memory bit by bit",
        "RLIMIT_DATA",
        """
        kept = []
        try:
            while True: kept.append(bytearray(8 << 20))
        except MemoryError:
            kept.clear()
            raise
        """,
        MEMORY,
    ),
    Attempt(
        "keeps so much memory that its own answer has no room",
        "RLIMIT_DATA; a guest that cannot answer ends and the session says so",
        """
        def take():
            kept = []
            while True: kept.append(bytearray(1000))
        take()
        """,
        MEMORY | CRASHED,
    ),
    Attempt(
        "takes memory that is mapped as shared",
        "RLIMIT_AS, and the watch, which looks at what is resident",
        f"""
        import mmap
        area = mmap.mmap(-1, {2 * LIMITS.memory_mb} << 20)
        for i in range(0, len(area), 4096): area[i] = 1
        time.sleep(2.5)
        "kept"
        """,
        CRASHED | {"OSError", "MemoryError"},
        setups=(OWN_UID,),
    ),
    Attempt(
        "takes descriptors",
        "RLIMIT_NOFILE",
        """
        try:
            kept = [os.dup(0) for _ in range(10_000)]
        finally:
            os.closerange(4, 10_000)
        """,
        frozenset({"OSError"}),
    ),
    Attempt(
        "starts threads without end",
        "RLIMIT_NPROC with a uid of its own; elsewhere the watch counts and kills",
        """
        stop = threading.Event()
        try:
            for _ in range(3000): threading.Thread(target=stop.wait, daemon=True).start()
            time.sleep(3)
        finally: stop.set()
        """,
        CRASHED | {"RuntimeError", "MemoryError"},
    ),
    Attempt(
        "writes one endless file",
        "RLIMIT_FSIZE",
        """
        try:
            with open("big", "wb") as out:
                while True: out.write(bytes(1 << 20))
        finally: os.unlink("big")
        """,
        frozenset({"OSError"}),
    ),
    Attempt(
        "fills the disk with many files",
        "the watch measures the folder and kills",
        """
        for i in range(6):
            with open(f"big{i}", "wb") as out: out.write(bytes(8 << 20))
        time.sleep(4)
        """,
        CRASHED,
        setups=SLOW,
    ),
    Attempt(
        "fills the disk while it renames files without pause",
        "the watch measures the folder, whatever happens in it meanwhile",
        """
        for i in range(3000): open(f"a{i}", "w").close()
        names = [(f"a{i}".encode(), f"b{i}".encode()) for i in range(3000)]
        def churn():
            while True:
                for a, b in names: libc.rename(a, b)
                for a, b in names: libc.rename(b, a)
        threading.Thread(target=churn, daemon=True).start()
        for i in range(6):
            with open(f"big{i}", "wb") as out: out.write(bytes(8 << 20))
        time.sleep(4.5)
        """,
        CRASHED,
        timeout_s=7,
        setups=(OWN_UID,),
    ),
    Attempt(
        "fills the disk with files that have no name",
        "the watch counts what is open and unlinked too",
        """
        kept = []
        for i in range(6):
            kept.append(open("big", "wb", 0)); os.unlink("big"); kept[-1].write(bytes(8 << 20))
        time.sleep(3)
        for one in kept: one.close()
        "kept"
        """,
        CRASHED,
        timeout_s=6,
        setups=(OWN_UID,),
        hole="an unlinked open file is in no folder: disk_mb does not count it",
    ),
    Attempt(
        "nests folders deeper than can be measured",
        "the watch takes a folder that is too deep to be measured for too large",
        """
        for _ in range(200): os.mkdir("d"); os.chdir("d")
        os.chdir(os.environ["HOME"])
        time.sleep(4)
        """,
        CRASHED,
        setups=(OWN_UID,),
    ),
    Attempt(
        "prints 200 MB",
        "the guest cuts output at its limit and says so; the host counts again",
        """
        line = "x" * 999 + "\\n"
        for _ in range(200_000): print(line, end="")
        "fine"
        """,
        FINE,
        timeout_s=15,
        setups=SLOW,
    ),
    Attempt(
        "returns 100 MB",
        "the guest cuts the value at its limit and says so",
        """value = "x" * (50 << 20); value += value; print(len(value)); value[:8] and (value, "fine")[1]""",
        FINE,
    ),
    Attempt(
        "recurses",
        "Python's own limit",
        """
        def down(n): return down(n + 1)
        down(0)
        """,
        frozenset({"RecursionError"}),
    ),
    Attempt(
        "recurses in C with the limit raised",
        "the process ends and the session says so; from Python 3.12, a limit for C of its own",
        """
        sys.setrecursionlimit(2**30)
        class Deep:
            def __repr__(self): return repr([self])
        repr(Deep())
        """,
        CRASHED | MEMORY | TIMED_OUT | C_LIMIT,
        timeout_s=8,
        setups=SLOW,
    ),
    Attempt(
        "reads address 0",
        "the process ends and the session says so",
        """ctypes.string_at(0)""",
        CRASHED,
    ),
    Attempt(
        "aborts",
        "the process ends and the session says so",
        """os.abort()""",
        CRASHED,
    ),
    Attempt(
        "leaves by os._exit with success",
        "the process ends and the session says so",
        """os._exit(0)""",
        CRASHED,
    ),
    Attempt(
        "leaves by sys.exit, quit and SystemExit",
        "an exception like any other",
        """sys.exit(3)""",
        frozenset({"SystemExit"}),
    ),
    Attempt(
        "kills itself by a timer of the kernel",
        "the process ends and the session says so",
        """import signal; signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(3)""",
        CRASHED,
    ),
    Attempt(
        "stops itself",
        "the deadline: SIGKILL ends a stopped process too",
        """os.kill(os.getpid(), 19)""",
        TIMED_OUT,
        timeout_s=0.3,
    ),
    Attempt(
        "loops for ever",
        "SIGINT at the deadline; variables are kept",
        """
        while True: pass
        """,
        INTERRUPTED,
        timeout_s=0.3,
    ),
    Attempt(
        "catches every interrupt",
        "SIGKILL after the grace",
        """
        while True:
            try:
                while True: pass
            except BaseException: pass
        """,
        TIMED_OUT | INTERRUPTED,
        timeout_s=0.3,
    ),
    Attempt(
        "ignores and masks signals",
        "SIGKILL after the grace",
        """
        import signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True: time.sleep(1)
        """,
        TIMED_OUT,
        timeout_s=0.3,
    ),
    Attempt(
        "computes in C where no interrupt lands",
        "SIGKILL after the grace",
        """sum(range(10**12))""",
        TIMED_OUT,
        timeout_s=0.3,
    ),
    Attempt(
        "takes over the guest's interrupts and keeps them for the next run",
        "each run installs them anew, and SIGKILL stands behind them",
        """
        import signal
        from py_code_mode_guest import interrupts
        interrupts._on_sigint = interrupts.install = lambda *a: None
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True: pass
        """,
        TIMED_OUT,
        timeout_s=0.3,
    ),
    Attempt(
        "computes in threads after its answer",
        "the watch counts CPU after the answer and kills",
        """
        def burn():
            while True: pass
        for _ in range(2): threading.Thread(target=burn, daemon=True).start()
        "fine"
        """,
        FINE,
        wait_s=4.0,
        loses=True,
        setups=SLOW,
    ),
    Attempt(
        "ends its process after the answer",
        "the next run gets a new worker and is told of the loss",
        """threading.Timer(0.1, os._exit, (0,)).start(); "fine" """,
        FINE,
        wait_s=0.8,
        loses=True,
    ),
    Attempt(
        "prints in threads after its answer",
        "what is printed between runs is kept for the next, within its limit",
        """
        def shout():
            end = time.monotonic() + 0.5
            while time.monotonic() < end: print("x" * 5000)
        threading.Thread(target=shout, daemon=True).start(); "fine"
        """,
        FINE,
        wait_s=0.7,
    ),
    Attempt(
        "returns integers of any size",
        "long ones are described",
        """[(1 << n, -(1 << n)) for n in (62, 63, 64, 14284, 14285, 200_000, 5_000_000)] and "fine" """,
        FINE,
    ),
    *(
        Attempt(
            f"returns {what}",
            "values without a JSON form become their repr",
            code,
            sees,
            timeout_s=1,
        )
        for what, code, sees in (
            (
                "a list nested 100,000 deep",
                "x = []\nfor _ in range(100_000): x = [x]\nx and x, 'fine'",
                None,
            ),
            ("a list that holds itself", "x = []; x.append(x); [x][0]", None),
            ("a dict that holds itself", "x = {}; x['x'] = x; x", None),
            ("an integer of 2,000,000 digits", "1 << 6_643_856", None),
            ("lone surrogates", "'\\ud800 \\udfff'", None),
            (
                "an object whose repr raises",
                "class Bad:\n    def __repr__(self): raise SystemExit(1)\n[Bad()]",
                None,
            ),
            (
                "an object whose repr never ends",
                "class Bad:\n    def __repr__(self):\n        while True: pass\nBad()",
                INTERRUPTED,
            ),
            (
                "a subclass that lies about its length and items",
                "class L(list):\n    def __len__(self): return -1\n    def __iter__(self): 1 / 0\nL([1])",
                None,
            ),
            (
                "an object whose class has no name",
                "class M(type):\n    def __getattribute__(c, n): 1 / 0\n"
                "class O(metaclass=M):\n    def __repr__(self): raise ValueError\nO()",
                frozenset({"ZeroDivisionError"}),
            ),
        )
        for sees in (sees or ANY,)
    ),
    *(
        Attempt(
            f"raises {what}",
            "what cannot be shown is described",
            code,
            frozenset({sees}),
            timeout_s=1,
        )
        for what, code, sees in (
            (
                "an exception whose str raises",
                "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
                "E",
            ),
            ("an exception with lone surrogates", "raise ValueError('\\ud800')", "ValueError"),
            (
                "an exception whose str never ends",
                "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
                "ExecutionTimeoutError",
            ),
            (
                "a chain of exceptions that holds itself",
                "a, b = ValueError(), KeyError(); a.__cause__, b.__cause__ = b, a\nraise a",
                "ValueError",
            ),
            ("KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("GeneratorExit", "raise GeneratorExit", "GeneratorExit"),
            (
                "an exception whose class refuses to tell its name",
                "class M(type):\n    __name__ = property(lambda c: 1 / 0)\n"
                "class E(Exception, metaclass=M): pass\nraise E",
                "E",
            ),
        )
    ),
)


async def test_a_bomb_ends_in_a_result(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
