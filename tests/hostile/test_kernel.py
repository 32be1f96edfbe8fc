"""The kernel itself: what enlarges it, what it keeps for the machine, what a process may become."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import CRASHED, MAIN, NO_LANDLOCK, REFUSED, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, NO_LANDLOCK)
FILTER = "seccomp: no such call in the filter"


def _calls(name: str, *calls: str, stopped_by: str = FILTER) -> Attempt:
    """An attempt that is nothing but calls, each refused."""
    return Attempt(name, stopped_by, f"[{', '.join(f'syscall({call})' for call in calls)}]")


BUFFER = "ctypes.create_string_buffer(256)"

ATTEMPTS = (
    _calls("sets up io_uring", f"'io_uring_setup', 8, {BUFFER}", "426, 3, 1, 0, 0, 0", "427, 3, 0"),
    _calls("sets up kernel aio", f"'io_setup', 8, {BUFFER}"),
    _calls("loads a BPF program or map", f"'bpf', 0, {BUFFER}, 128", f"'bpf', 5, {BUFFER}, 128"),
    _calls("handles its page faults itself", "'userfaultfd', 0", "'userfaultfd', 1"),
    _calls("opens performance counters", f"'perf_event_open', {BUFFER}, 0, -1, -1, 0"),
    _calls(
        "uses the kernel's key rings",
        "'keyctl', 0, -4, 0",
        "'add_key', b'user', b'x', b'y', 1, -4",
        "'request_key', b'user', b'x', 0, -4",
    ),
    _calls(
        "makes System V and POSIX objects",
        "'shmget', 0, 4096, 0o1666",
        "'semget', 0, 1, 0o1666",
        "'msgget', 0, 0o1666",
        "'mq_open', b'hostile', 0o102, 0o666, 0",
    ),
    _calls(
        "mounts, unmounts and changes roots",
        "'mount', b'none', b'/tmp', b'tmpfs', 0, 0",
        "'umount2', b'/proc', 2",
        "'pivot_root', b'.', b'.'",
        "'chroot', b'.'",
        "'fsopen', b'tmpfs', 0",
        "'open_tree', -100, b'/', 1",
    ),
    _calls(
        "leaves its namespaces",
        *(f"'unshare', {flag}" for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x400)),
        "'setns', 3, 0",
    ),
    _calls("changes its personality", "'personality', 8", "'personality', 0x0400000"),
    Attempt(
        "changes its segments",
        FILTER,
        """
        x86 = os.uname().machine == "x86_64"
        [syscall(154, 1, ctypes.create_string_buffer(16), 16) if x86 else "EPERM",
         syscall(172, 3) if x86 else "EPERM", syscall(173, 0, 10, 1) if x86 else "EPERM"]
        """,
    ),
    _calls(
        "undoes the lockdown by prctl",
        *(f"'prctl', {n}, 1, 0, 0, 0" for n in (1, 4, 8, 21, 22, 23, 24, 28, 29, 35, 36, 38, 47)),
        *(f"'prctl', {n}, 1, 0, 0, 0" for n in (52, 53, 54, 55, 59, 61, 62, 65, 0x59616D61)),
        stopped_by="seccomp: a short list of options",
    ),
    _calls(
        "installs filters and listeners of its own",
        f"'seccomp', 1, 8, {BUFFER}",
        f"'seccomp', 1, 0, {BUFFER}",
        "'seccomp', 0, 0, 0",
        f"'seccomp', 3, 0, {BUFFER}",
        f"'landlock_create_ruleset', {BUFFER}, 8, 0",
    ),
    Attempt(
        "raises its limits",
        "seccomp: limits are read, never set",
        """
        import resource
        raised = (ctypes.c_ulong * 2)(2**63, 2**63)
        [tried(lambda n=n: resource.setrlimit(n, resource.getrlimit(n))) for n in range(10)] + [
         syscall("prlimit64", pid, 7, raised, 0) for pid in (0, os.getpid(), HOST["pid"])] + [
         syscall("prlimit64", HOST["pid"], 7, 0, raised)]
        """,
        REFUSED | {"ValueError"},
    ),
    Attempt(
        "becomes another user",
        FILTER,
        """
        [tried(lambda: os.setuid(0)), tried(lambda: os.setgid(0)), tried(lambda: os.setgroups([0])),
         tried(lambda: os.setresuid(0, 0, 0)), tried(lambda: os.setreuid(0, 0)),
         tried(lambda: os.setresuid(*[HOST["sibling_uid"]] * 3)), syscall("setuid", 0),
         syscall("setresuid", 0, 0, 0), syscall("setresgid", 0, 0, 0), syscall("setgroups", 0, 0)]
        """,
    ),
    Attempt(
        "finds a capability or a way to regain one",
        "the worker drops them all, and no_new_privs forbids new ones",
        """
        header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
        libc.capget(header, data)
        [str(any(data.raw)), str(libc.prctl(39, 0, 0, 0, 0)), str(libc.prctl(3, 0, 0, 0, 0)),
         tried(lambda: libc.capset(header, b"\\xff" * 24) and os.setuid(os.getuid()))]
        """,
        REFUSED | {"False", "1", "0"},
    ),
    Attempt(
        "changes priorities and processors, its own and others'",
        FILTER,
        """
        [tried(lambda: os.nice(-10)), tried(lambda: os.setpriority(0, HOST["pid"], 19)),
         tried(lambda: os.setpriority(0, 0, -20)), tried(lambda: os.setpriority(2, os.getuid(), 19)),
         tried(lambda: os.sched_setaffinity(0, {0})), tried(lambda: os.sched_setaffinity(HOST["pid"], {0})),
         tried(lambda: os.sched_setscheduler(0, 1, os.sched_param(1))),
         syscall("sched_setattr", HOST["sibling"], ctypes.create_string_buffer(56), 0),
         syscall("ioprio_set", 1, HOST["pid"], 0x6000)]
        """,
    ),
    Attempt(
        "types into a terminal",
        "seccomp: a short list of ioctls; the worker is a session leader without a terminal",
        """
        import fcntl
        [tried(lambda n=n: fcntl.ioctl(fd, n, b"x")) for n in (0x5412, 0x541C, 0x540E, 0x5414, 0x8901)
         for fd in (0, 3)] + [tried(lambda: open("/dev/tty")), tried(lambda: open("/dev/ptmx", "r+"))]
        """,
        # Without Landlock a pty of its own can be opened, which reaches nobody.
        REFUSED | {"ENXIO", "ENOENT", "UnsupportedOperation"},
    ),
    Attempt(
        "sends TIOCSTI by a number whose high word is not zero",
        "seccomp compares the word that the kernel reads",
        """[syscall(16 if os.uname().machine == "x86_64" else 29, 0, (1 << 32) | 0x5412, b"x")]""",
    ),
    Attempt(
        "lets the kernel signal the host when its socket has data",
        "seccomp: a short list of fcntl commands",
        """
        import fcntl
        [tried(lambda c=c, a=a: fcntl.fcntl(3, c, a)) for c, a in
         ((8, HOST["pid"]), (8, -HOST["pid"]), (10, 10), (1024, 0), (1026, 1), (1031, 1 << 20), (1033, 1))] + [
         tried(lambda: fcntl.fcntl(3, 15, struct.pack("ii", 1, HOST["pid"])))]
        """,
    ),
    _calls(
        "watches files of others", "'inotify_init1', 0", "'fanotify_init', 0, 0", "'acct', b'own'"
    ),
    _calls(
        "moves pages between pipes and processes",
        "'vmsplice', 3, 0, 0, 0",
        "'splice', 3, 0, 3, 0, 1, 0",
        "'process_madvise', 3, 0, 0, 12, 0",
        "'mbind', 0, 4096, 0, 0, 0, 0",
        "'mlockall', 3",
    ),
    Attempt(
        "shares equal pages with other processes, to learn of theirs",
        "seccomp: no MADV_MERGEABLE, by madvise or prctl",
        """
        import mmap
        page = mmap.mmap(-1, 4096)
        [tried(lambda: page.madvise(12)), tried(lambda: page.madvise(100)), tried(lambda: page.madvise(101)),
         syscall("prctl", 67, 1, 0, 0, 0)]
        """,
    ),
    _calls(
        "loads modules, reboots, swaps, sets clock and name",
        "'finit_module', 3, b'', 0",
        "'delete_module', b'x', 0",
        "'kexec_load', 0, 0, 0, 0",
        "'reboot', 0xfee1dead, 672274793, 0, 0",
        "'swapon', b'own', 0",
        f"'settimeofday', {BUFFER}, 0",
        f"'adjtimex', {BUFFER}",
        "'sethostname', b'owned', 5",
        "'setdomainname', b'owned', 5",
        "'quotactl', 0, b'/', 0, 0",
    ),
    Attempt(
        "maps the lowest page and jumps into the void",
        "the kernel's lowest address; the session ends and says so",
        """
        import mmap
        libc.mmap.restype = ctypes.c_void_p
        assert ctypes.c_long(libc.mmap(None, 4096, 7, 0x32, -1, 0) or 0).value != 0
        ctypes.CFUNCTYPE(None)(0x10)()
        """,
        CRASHED,
    ),
    Attempt(
        "starts a timer that signals another",
        "the kernel: a timer's thread is one of the own process",
        """
        event = struct.pack("=QiiI", 0, 10, 4, HOST["pid"]) + bytes(48)
        timer = ctypes.c_int()
        number = 222 if os.uname().machine == "x86_64" else 107
        syscall(number, 1, ctypes.create_string_buffer(event), ctypes.byref(timer))
        """,
        REFUSED | {"EINVAL"},
    ),
)


async def test_a_guest_changes_nothing_of_the_machine(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
