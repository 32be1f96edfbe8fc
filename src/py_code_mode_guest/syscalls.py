"""The system calls: their numbers on the two machines we support, and how to make them raw.

Source of the numbers: ``asm/unistd_64.h`` (x86_64) and ``asm-generic/unistd.h`` (aarch64) of Linux;
the tests compare the table with the headers. What the table lacks, the filter denies anyway.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Final


class LockdownError(Exception):
    """Raised when a step could not be done: the worker is not confined and must not run code."""

    def __init__(self, step: str, errno: int) -> None:
        super().__init__(step, errno)
        self.step = step
        self.errno = errno

    def __str__(self) -> str:
        return f"lockdown failed at {self.step}: {os.strerror(self.errno)} (errno {self.errno})"


class Machine(Enum):
    """A processor whose system calls we know; the value is its ``uname -m``."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def audit_arch(self) -> int:
        """``AUDIT_ARCH_*`` of ``linux/audit.h``: how seccomp names the caller's ABI."""
        return {Machine.X86_64: 0xC000003E, Machine.AARCH64: 0xC00000B7}[self]

    @property
    def numbers(self) -> Mapping[str, int]:
        """Number by name; names that this machine does not have are absent."""
        column = list(Machine).index(self)
        found = {name: row[column] for name, row in _NUMBERS.items()}
        return {name: number for name, number in found.items() if number is not None}


@cache
def this_machine() -> Machine | None:
    """Return the machine we run on, None where the lockdown cannot work at all."""
    # A 32-bit interpreter on a 64-bit kernel speaks another system call ABI than uname tells.
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return None
    name = os.uname().machine
    return Machine(name) if name in {machine.value for machine in Machine} else None


@cache
def libc() -> ctypes.CDLL:
    """Return the C library with the types of what we call; raises LockdownError off 64-bit Linux.

    The first call takes a millisecond: make it in the zygote, not in a worker.
    """
    if this_machine() is None:
        raise LockdownError("start (64-bit Linux on x86_64 or aarch64 is needed)", errno.ENOSYS)
    library = ctypes.CDLL(None, use_errno=True)
    # Invariant: every argument fills its register; a C int would leave the upper half undefined.
    library.syscall.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 6]
    library.syscall.restype = ctypes.c_long
    library.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    library.prctl.restype = ctypes.c_int
    library.capset.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.capset.restype = ctypes.c_int
    return library


@cache
def _numbers() -> Mapping[str, int]:
    machine = this_machine()
    return machine.numbers if machine else {}


def call(name: str, *args: int | bytes) -> int:
    """Make a system call; bytes go by address. Negative means failed: see ``ctypes.get_errno``."""
    result: int = libc().syscall(_numbers()[name], *args, *[0] * (6 - len(args)))
    return result


def must(name: str, *args: int | bytes) -> int:
    """As :func:`call`; raises LockdownError when it fails."""
    result = call(name, *args)
    if result < 0:
        raise LockdownError(name, ctypes.get_errno())
    return result


def prctl(option: int, argument: int) -> int:
    """Set a property of this process; not 0 means failed: see ``ctypes.get_errno``."""
    result: int = libc().prctl(option, argument, 0, 0, 0)
    return result


#: name: (x86_64, aarch64)
# fmt: off
_NUMBERS: Final[Mapping[str, tuple[int, int | None]]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "ioctl": (16, 29), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, None),
    "pipe": (22, None), "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216),
    "msync": (26, 227), "mincore": (27, 232), "madvise": (28, 233), "dup": (32, 23),
    "dup2": (33, None), "pause": (34, None), "nanosleep": (35, 101), "getitimer": (36, 102),
    "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172), "sendfile": (40, 71),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212),
    "shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205),
    "socketpair": (53, 199), "setsockopt": (54, 208), "getsockopt": (55, 209), "clone": (56, 220),
    "exit": (60, 93), "wait4": (61, 260), "kill": (62, 129), "uname": (63, 160), "fcntl": (72, 25),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "truncate": (76, 45),
    "ftruncate": (77, 46), "getdents": (78, None), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None),
    "creat": (85, None), "unlink": (87, None), "symlink": (88, None), "readlink": (89, None),
    "chmod": (90, None), "fchmod": (91, 52), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "getpgrp": (111, None), "getgroups": (115, 158), "getresuid": (118, 148),
    "getresgid": (120, 150), "getpgid": (121, 155), "getsid": (124, 156), "capget": (125, 90),
    "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132), "utime": (132, None), "statfs": (137, 43), "fstatfs": (138, 44),
    "getpriority": (140, 141), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "sched_rr_get_interval": (148, 127), "prctl": (157, 167), "arch_prctl": (158, None),
    "gettid": (186, 178), "readahead": (187, 213), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10),
    "listxattr": (194, 11), "llistxattr": (195, 12), "flistxattr": (196, 13),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "time": (201, None), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "epoll_create": (213, None), "getdents64": (217, 61), "set_tid_address": (218, 96),
    "restart_syscall": (219, 128), "fadvise64": (221, 223), "timer_create": (222, 107),
    "timer_settime": (223, 110), "timer_gettime": (224, 108), "timer_getoverrun": (225, 109),
    "timer_delete": (226, 111), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "epoll_wait": (232, None),
    "epoll_ctl": (233, 21), "tgkill": (234, 131), "utimes": (235, None), "waitid": (247, 95),
    "openat": (257, 56), "mkdirat": (258, 34), "fchownat": (260, 54), "futimesat": (261, None),
    "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38), "symlinkat": (266, 36),
    "readlinkat": (267, 78), "fchmodat": (268, 53), "faccessat": (269, 48), "pselect6": (270, 72),
    "ppoll": (271, 73), "set_robust_list": (273, 99), "sync_file_range": (277, 84),
    "utimensat": (280, 88), "epoll_pwait": (281, 22), "timerfd_create": (283, 85),
    "eventfd": (284, None), "fallocate": (285, 47), "timerfd_settime": (286, 86),
    "timerfd_gettime": (287, 87), "eventfd2": (290, 19), "epoll_create1": (291, 20),
    "dup3": (292, 24), "pipe2": (293, 59), "preadv": (295, 69), "pwritev": (296, 70),
    "prlimit64": (302, 261), "getcpu": (309, 168), "renameat2": (316, 276), "seccomp": (317, 277),
    "getrandom": (318, 278), "membarrier": (324, 283), "copy_file_range": (326, 285),
    "preadv2": (327, 286), "pwritev2": (328, 287), "statx": (332, 291), "rseq": (334, 293),
    "clone3": (435, 435), "close_range": (436, 436), "openat2": (437, 437),
    "faccessat2": (439, 439), "epoll_pwait2": (441, 441), "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "futex_waitv": (449, 449), "fchmodat2": (452, 452), "setxattrat": (463, 463),
    "getxattrat": (464, 464), "listxattrat": (465, 465), "removexattrat": (466, 466),
    # Only ever denied, in a tool's jail.
    "shmget": (29, 194), "socket": (41, 198), "semget": (64, 190), "msgget": (68, 186),
    "ptrace": (101, 117), "syslog": (103, 116), "setpgid": (109, 154), "setsid": (112, 157),
    "personality": (135, 92), "vhangup": (153, 58), "pivot_root": (155, 41), "chroot": (161, 51),
    "acct": (163, 89), "settimeofday": (164, 170), "mount": (165, 40), "umount2": (166, 39),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "init_module": (175, 105), "delete_module": (176, 106), "quotactl": (179, 60),
    "clock_settime": (227, 112), "mbind": (237, 235), "mq_open": (240, 180),
    "kexec_load": (246, 104), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "migrate_pages": (256, 238), "unshare": (272, 97),
    "move_pages": (279, 239), "perf_event_open": (298, 241), "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "clock_adjtime": (305, 266), "setns": (308, 268), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "finit_module": (313, 273),
    "kexec_file_load": (320, 294), "bpf": (321, 280), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "mount_setattr": (442, 442),
    "shmat": (30, 196), "shmctl": (31, 195), "semop": (65, 193), "semctl": (66, 191),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "semtimedop": (220, 192),
    "mq_unlink": (241, 181), "inotify_init": (253, None), "inotify_init1": (294, 26),
    # Allowed there to a program for itself.
    "rt_sigqueueinfo": (129, 138), "setpriority": (141, 140), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "tkill": (200, 130), "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30), "rt_tgsigqueueinfo": (297, 240), "sendmmsg": (307, 269),
    "sched_setattr": (314, 274), "pidfd_send_signal": (424, 424),
    # Denied to the installer, which is started by the other way to execute.
    "execve": (59, 221),
}
# fmt: on
