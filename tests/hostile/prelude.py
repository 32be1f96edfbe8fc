"""What every attempt finds defined: put before its code, and run inside the guest.

``HOST`` holds facts that an attacker is assumed to know already (pids, paths, ports).
"""

import contextlib
import ctypes
import errno
import os
import struct
import sys
import threading  # noqa: F401 - for the attempts
import time  # noqa: F401
from collections.abc import Callable
from typing import Any

with contextlib.suppress(ImportError):  # a tool's program has none
    import msgpack

HOST: dict[str, Any] = {}
libc = ctypes.CDLL(None, use_errno=True)

#: System calls by number on x86_64 and aarch64.
NUMBERS = {
    "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171),
    "bind": (49, 200), "bpf": (321, 280), "chroot": (161, 51), "clone": (56, 220),
    "clone3": (435, 435), "connect": (42, 203), "delete_module": (176, 106),
    "execve": (59, 221), "execveat": (322, 281), "fanotify_init": (300, 262),
    "finit_module": (313, 273), "fsopen": (430, 430), "get_mempolicy": (239, 236),
    "inotify_init1": (294, 26), "io_setup": (206, 0), "io_uring_setup": (425, 425),
    "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_load": (246, 104),
    "keyctl": (250, 219), "kill": (62, 129), "landlock_create_ruleset": (444, 444),
    "linkat": (265, 37), "listen": (50, 201), "mbind": (237, 235),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "mknodat": (259, 33),
    "mlockall": (151, 230), "mount": (165, 40), "move_pages": (279, 239),
    "mq_open": (240, 180), "msgget": (68, 186), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prctl": (157, 167),
    "prlimit64": (302, 261), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "seccomp": (317, 277),
    "semget": (64, 190), "sendmmsg": (307, 269), "sendto": (44, 206), "setdomainname": (171, 162),
    "sethostname": (170, 161), "setns": (308, 268), "setpriority": (141, 140),
    "setresgid": (119, 149), "setresuid": (117, 147), "setuid": (105, 146),
    "setgroups": (116, 159), "settimeofday": (164, 170), "shmget": (29, 194),
    "socket": (41, 198), "socketpair": (53, 199), "splice": (275, 76), "swapon": (167, 224),
    "syslog": (103, 116), "tkill": (200, 130), "tgkill": (234, 131), "umount2": (166, 39),
    "unshare": (272, 97), "userfaultfd": (323, 282), "vmsplice": (278, 75),
}  # fmt: skip


def tried(act: Callable[[], object]) -> str:
    """Return what came of it: the errno's name, the exception's, or ``done: …``."""
    try:
        got = act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:
        return type(error).__name__
    return f"done: {got!r}"[:100]


def syscall(call: str | int, *args: Any) -> str:
    """Make a system call past every layer of Python; returns what ``tried`` would."""
    arm = os.uname().machine == "aarch64"
    number = call if isinstance(call, int) else NUMBERS[call][arm]
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    ctypes.set_errno(0)
    got: int = libc.syscall(ctypes.c_long(number), *words)
    return errno.errorcode[ctypes.get_errno()] if got == -1 else f"done: {got}"


def inside(code: str, tool: str = "python") -> list[str]:
    """Run an attempt's code in a tool's program, this prelude before it; returns its ``said``."""
    facts = {name: fact for name, fact in HOST.items() if name != "prelude"}
    facts |= {"worker": os.getpid(), "home": os.getcwd()}
    head = f"{HOST['prelude']}\nHOST.update({facts!r})\n"
    script = f"{head}{code}\nimport json\nprint(json.dumps(said))"
    words: list[str] = getattr(tools, tool)(script=script)  # type: ignore[name-defined]  # noqa: F821
    return words


def frame(message: object) -> bytes:
    """Return a message as the wire carries it."""
    body: bytes = msgpack.packb(message)
    return struct.pack("<I", len(body)) + body


def send(data: bytes) -> None:
    """Write raw bytes to the session's own socket."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(3, rest) :]


def run_id() -> int:
    """Return the id of the run under way, found in the frames of the guest's own code."""
    found = sys._getframe()
    while "command" not in found.f_locals:
        assert found.f_back is not None
        found = found.f_back
    number: int = found.f_locals["command"]["id"]
    return number


def call(**changes: object) -> dict[str, object]:
    """Return a correct call, with changes."""
    good = {"type": "call", "id": 10**6, "namespace": "artifacts", "operation": "list"}
    return {**good, "args": [], "kwargs": {}, **changes}


def done(**changes: object) -> dict[str, object]:
    """Return a correct answer to the run under way, with changes."""
    good = {"type": "done", "id": run_id(), "value": "forged", "parts": [], "truncated": []}
    return {**good, **changes}
