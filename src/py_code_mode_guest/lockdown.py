"""The lockdown of a freshly forked worker: the kernel enforces it, the worker cannot undo it.

The zygote builds :class:`ReadRules` and a :class:`FilterProgram` once; each worker then needs one
system call per rule. Order in the worker, each step needing the one before it::

    drop_bounding_set(); become(uid, gid)            # as root only
    drop_capabilities(); set_dumpable(False); die_with_parent(zygote_pid); no_new_privileges()
    restrict_files(rules, [folder_fd], abi=landlock_abi()); close_all_fds_but([...])
    install_filter(program, os.getpid())             # last: it denies most of the above

Importing works everywhere; elsewhere than on 64-bit Linux the probes say no and the rest raises.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Sequence
from typing import Final

from py_code_mode_guest.landlock import ReadRules, landlock_abi, restrict_files
from py_code_mode_guest.seccomp import FilterProgram, compile_filter
from py_code_mode_guest.syscalls import LockdownError, call, libc, must, prctl, this_machine

# fmt: off
__all__ = [
    "FilterProgram", "LockdownError", "ReadRules", "adopt_orphans", "become", "close_all_fds_but",
    "compile_filter", "die_with_parent", "drop_bounding_set", "drop_capabilities",
    "install_filter", "landlock_abi", "no_new_privileges", "restrict_files",
    "seccomp_available", "set_capabilities", "set_dumpable",
]
# fmt: on

_SET_MODE_FILTER, _FILTER_FLAG_TSYNC = 1, 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522


def seccomp_available() -> bool:
    """Say whether filters can be installed; installs none."""
    if this_machine() is None:
        return False
    # A filter at NULL: EFAULT means that everything up to reading it was in order.
    call("seccomp", _SET_MODE_FILTER, _FILTER_FLAG_TSYNC, 0)
    return ctypes.get_errno() == errno.EFAULT


def install_filter(program: FilterProgram, pid: int, *, whole_process: bool = True) -> None:
    """Apply the filter, with ``pid`` for OWN_PID, to every thread or to this one, for good.

    Needs :func:`no_new_privileges`. Steps after this one meet the filter themselves.
    """
    if program.machine is not this_machine():
        raise LockdownError("seccomp (filter of another machine)", errno.EINVAL)
    code = program.for_pid(pid)
    flags = _FILTER_FLAG_TSYNC if whole_process else 0
    fprog = struct.pack("=H6x", len(code) // 8) + bytes(ctypes.c_char_p(code))  # its address
    result = must("seccomp", _SET_MODE_FILTER, flags, fprog)
    if result != 0:  # the id of a thread that has a filter of its own
        raise LockdownError(f"seccomp (thread {result} cannot be confined)", errno.EBUSY)


def close_all_fds_but(keep: Sequence[int]) -> None:
    """Close every descriptor of this process except those in ``keep``."""
    first = 0
    for fd in sorted({*keep}):
        if fd > first:
            _close_range(first, fd - 1)
        first = fd + 1
    _close_range(first, 0xFFFFFFFF)


def _close_range(first: int, last: int) -> None:
    if call("close_range", first, last, 0) == 0:
        return
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        raise LockdownError("close_range", ctypes.get_errno())
    # Before Linux 5.9, or in a container runtime that does not know the call.
    try:
        open_fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError as error:
        raise LockdownError("close_range", error.errno or errno.ENOSYS) from error
    for fd in open_fds:
        if first <= fd <= last:
            os.closerange(fd, fd + 1)  # unlike close, does not mind the listing's own, gone by now


def become(uid: int, gid: int) -> None:
    """Take this uid and gid for real, effective and saved, and no other group."""
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise LockdownError(f"uid {uid}", error.errno or errno.EPERM) from error


def drop_bounding_set() -> bool:
    """Empty the capability bounding set; False where that is not permitted (CAP_SETPCAP)."""
    for capability in range(64):
        if prctl(_PR_CAPBSET_DROP, capability) != 0:
            return ctypes.get_errno() == errno.EINVAL  # beyond the last one
    return True


def drop_capabilities() -> None:
    """Give up all capabilities: ambient, inheritable, permitted and effective."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)  # unknown before 4.3: then there are none
    set_capabilities(0)


def set_capabilities(kept: int) -> None:
    """Have these bits of the first 32 capabilities, effective and permitted, and no others."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc().capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)) != 0:
        raise LockdownError("capset", ctypes.get_errno())


def set_dumpable(dumpable: bool) -> None:  # noqa: FBT001 - the one thing it says
    """Say whether processes of the same uid may trace this one and read its memory and /proc.

    Taking another uid resets it, and so does exec.
    """
    _must_prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(dumpable))


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent ends, and end now if it has. Call it after :func:`become`."""
    _must_prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def adopt_orphans() -> None:
    """Be the parent of every process below whose own has ended, in place of process 1."""
    _must_prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    """Make set-uid bits and file capabilities void for this process and all it starts."""
    _must_prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def _must_prctl(step: str, option: int, argument: int) -> None:
    if prctl(option, argument) != 0:
        raise LockdownError(step, ctypes.get_errno())
