"""What a worker may ask of the kernel: the whole rule book, as a table.

What is not in it fails with EPERM, so whatever newer kernels add is denied until somebody reads
about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from py_code_mode_guest.bpf import (
    ALLOW,
    DENY,
    ERRNO,
    KILL_PROCESS,
    NO_SUCH_CALL,
    NOT_SUPPORTED,
    OWN_PID,
    PRETEND,
    Action,
    Case,
    Check,
    FilterProgram,
    When,
    compile_rules,
    null,
    when,
)
from py_code_mode_guest.syscalls import Machine

__all__ = [
    "ALLOW",
    "DENY",
    "ERRNO",
    "KILL_PROCESS",
    "METADATA",
    "POLICY",
    "XATTR",
    "Case",
    "FilterProgram",
    "compile_filter",
    "policy",
]


# fmt: off
#: Safe with any argument: they touch memory, time, own threads, descriptors the worker was given,
#: or paths, and paths are Landlock's (or the own uid's) matter.
_HARMLESS: Final = """
    access alarm brk capget chdir clock_getres clock_gettime clock_nanosleep close close_range
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 exit exit_group faccessat faccessat2 fadvise64
    fallocate fchdir fdatasync flock fstat fstatfs fsync ftruncate futex futex_waitv getcpu getcwd
    getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp
    getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid lseek lstat membarrier mincore mkdir mkdirat mmap
    mprotect mremap msync munmap nanosleep newfstatat pause pipe poll ppoll pread64 preadv preadv2
    pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmsg
    rename renameat restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getparam sched_getscheduler sched_rr_get_interval sched_yield select
    sendfile set_robust_list set_tid_address setitimer shutdown sigaltstack stat statfs statx
    symlink symlinkat sync_file_range sysinfo time timer_create timer_delete timer_getoverrun
    timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times umask uname
    unlink unlinkat wait4 waitid write writev
""".split()  # noqa: SIM905 - a list of strings of this length reads worse

#: Neither Landlock nor anything else but the owner's uid guards the metadata of files.
METADATA: Final = (
    "chmod", "chown", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "futimesat",
    "lchown", "utime", "utimensat", "utimes",
)
XATTR: Final = (
    "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr",
    "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr",
    "removexattrat", "setxattr", "setxattrat",
)
# fmt: on

# Refused: O_TRUNC without write access, which Landlock below ABI 3 does not see, and access mode 3
# (neither readable nor writable), which it does not see either, and which truncates as well.
_OPEN_FLAGS: Final = (0o0, 0o1, 0o2, 0o1001, 0o1002)
_OPEN_MASK: Final = 0o1003

# CLONE_THREAD, with the flags that glibc and musl give a thread or a subset: VM FS FILES SIGHAND
# SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID DETACHED CHILD_SETTID. No CLONE_NEW*, no exit signal.
_CLONE_THREAD: Final = 0x00010000
_CLONE_OPTIONAL: Final = 0x017C0F00

# MSG_FASTOPEN makes a connect() of a send; MSG_OOB is used by nobody, and was a way in once.
_MSG_REFUSED: Final = 0x20000001
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF
_O_NOTIFICATION_PIPE: Final = 0x80  # O_EXCL: a pipe for kernel events
_RENAME_KNOWN: Final = 0x3  # NOREPLACE, EXCHANGE; not WHITEOUT, which makes a device node

# F_DUPFD GETFD SETFD GETFL SETFL GETLK SETLK SETLKW OFD_GETLK OFD_SETLK OFD_SETLKW DUPFD_CLOEXEC
# GETPIPE_SZ; not F_SETOWN, F_SETSIG, F_NOTIFY, F_SETPIPE_SZ.
_FCNTL: Final = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
# TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, and FICLONE for file copies.
_IOCTL: Final = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x40049409)
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_NO_NEW_PRIVS, PR_SET_VMA (malloc names memory).
_PRCTL: Final = (3, 15, 16, 39, 0x53564D41)
# ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS.
_ARCH_PRCTL: Final = (0x1001, 0x1002, 0x1003, 0x1004)
# What allocators and libraries ask; not MERGEABLE, by which pages tell of others' memory.
_MADVISE: Final = (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23, 25, 102, 103)
# SO_REUSEADDR SNDBUF RCVBUF KEEPALIVE OOBINLINE LINGER RCVTIMEO SNDTIMEO (two numbers each); not
# SO_ATTACH_FILTER. TCP_NODELAY KEEPIDLE KEEPINTVL KEEPCNT QUICKACK USER_TIMEOUT; not ULP, FASTOPEN.
_SOL_SOCKET: Final = Check(1, (1,)), Check(2, (2, 7, 8, 9, 10, 13, 20, 21, 66, 67))
_IPPROTO_TCP: Final = Check(1, (6,)), Check(2, (1, 4, 5, 6, 12, 18))

#: The rule book, but for what :func:`policy` adds. Absent means EPERM.
#:
#: mmap and mprotect may make memory executable: libraries are loaded late, and machine code can do
#: nothing but make system calls, which come through here.
POLICY: Final[Mapping[str, Action]] = {
    **dict.fromkeys(_HARMLESS, ALLOW),
    # shutil and tempfile take these for a file system without extended attributes.
    **dict.fromkeys(XATTR, NOT_SUPPORTED),
    # Their flags are behind a pointer, out of our sight; libc falls back to the older call.
    "clone3": NO_SUCH_CALL,
    "openat2": NO_SUCH_CALL,
    "open": when(Check(1, _OPEN_FLAGS, mask=_OPEN_MASK)),
    "openat": when(Check(2, _OPEN_FLAGS, mask=_OPEN_MASK)),
    "clone": when(
        Check(0, (_CLONE_THREAD,), mask=0xFFFFFFFF & ~_CLONE_OPTIONAL), Check(0, (0,), high=True)
    ),
    # A datagram socket can send to any socket by its path, which Landlock does not see.
    "socketpair": when(Check(0, (_AF_UNIX,)), Check(1, (_SOCK_STREAM,), mask=_SOCK_TYPE_MASK)),
    "sendto": when(*null(4), Check(3, (0,), mask=_MSG_REFUSED)),
    # msg_name is behind a pointer. It is harmless: the only sockets here are connected streams
    # (socketpair above, or handed in by the host), which refuse or ignore an address but for
    # MSG_FASTOPEN. sendmmsg, which has a flags word per message, is denied.
    "sendmsg": when(Check(2, (0,), mask=_MSG_REFUSED)),
    "setsockopt": When((_SOL_SOCKET, _IPPROTO_TCP)),
    # pid_t is an int, so the low word is all of it. 0, -1 and negative numbers (groups, everybody)
    # are not our pid. tgkill only reaches threads of the group it names.
    "kill": when(Check(0, (OWN_PID,))),
    "tgkill": when(Check(0, (OWN_PID,))),
    "prlimit64": when(Check(0, (0, OWN_PID)), *null(2)),
    "fcntl": when(Check(1, _FCNTL)),
    "ioctl": when(Check(1, _IOCTL)),
    "prctl": when(Check(0, _PRCTL)),
    "arch_prctl": when(Check(0, _ARCH_PRCTL)),
    "madvise": when(Check(2, _MADVISE)),
    "pipe2": when(Check(1, (0,), mask=_O_NOTIFICATION_PIPE)),
    "renameat2": when(Check(4, (0,), mask=0xFFFFFFFF & ~_RENAME_KNOWN)),
}


def policy(*, own_uid: bool, truncate: bool) -> Mapping[str, Action]:
    """Return the rule book for a worker.

    Args:
        own_uid: The session has a uid of its own, so that file modes, owners and times are its
            own affair. Otherwise changing them is skipped and reported as a success.
        truncate: ``truncate(path)`` is guarded by Landlock (ABI 3 or later).
    """
    rules = {**POLICY, **dict.fromkeys(METADATA, ALLOW if own_uid else PRETEND)}
    return {**rules, "truncate": ALLOW} if truncate else rules


def compile_filter(
    *, own_uid: bool, truncate: bool, machine: Machine | None = None
) -> FilterProgram:
    """Compile :func:`policy` for a machine, by default this one. Raises ValueError if unknown."""
    rules = policy(own_uid=own_uid, truncate=truncate)
    return compile_rules(rules, default=DENY, machine=machine)
