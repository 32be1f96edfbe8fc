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
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from py_code_mode_guest.seccomp import FilterProgram, compile_filter
from py_code_mode_guest.syscalls import LockdownError, call, libc, must, prctl, this_machine

# fmt: off
__all__ = [
    "FilterProgram", "LockdownError", "ReadRule", "ReadRules", "become", "close_all_fds_but",
    "compile_filter", "die_with_parent", "drop_bounding_set", "drop_capabilities",
    "install_filter", "landlock_abi", "no_new_privileges", "restrict_files",
    "seccomp_available", "set_dumpable",
]
# fmt: on

# LANDLOCK_ACCESS_FS_* of linux/landlock.h.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = 1 << 10, 1 << 11, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

_READABLE: Final = READ_FILE | READ_DIR
_CHANGES: Final = WRITE_FILE | TRUNCATE | REFER | REMOVE_DIR | REMOVE_FILE
#: Everything in a session's own folder but to execute and to make device nodes, sockets, pipes.
WRITABLE: Final = _READABLE | _CHANGES | MAKE_DIR | MAKE_REG | MAKE_SYM

_NET_BIND_AND_CONNECT_TCP, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3
_CREATE_RULESET_VERSION, _RULE_PATH_BENEATH, _LOG_SAME_EXEC_OFF = 1, 1, 1
_PATH_BENEATH: Final = struct.Struct("=Qi")  # struct landlock_path_beneath_attr is packed

_SET_MODE_FILTER, _FILTER_FLAG_TSYNC = 1, 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522


def landlock_abi() -> int:
    """Return the kernel's Landlock ABI, 0 where it has none or it is switched off."""
    if this_machine() is None:
        return 0
    return max(call("landlock_create_ruleset", 0, 0, _CREATE_RULESET_VERSION), 0)


def seccomp_available() -> bool:
    """Say whether filters can be installed; installs none."""
    if this_machine() is None:
        return False
    # A filter at NULL: EFAULT means that everything up to reading it was in order.
    call("seccomp", _SET_MODE_FILTER, _FILTER_FLAG_TSYNC, 0)
    return ctypes.get_errno() == errno.EFAULT


class ReadRule(NamedTuple):
    """What may be done beneath ``path``, held open as ``fd`` (O_PATH)."""

    path: str
    fd: int
    access: int


class ReadRules:
    """The readable trees and files, opened once in the zygote and added by every worker."""

    def __init__(self, rules: Sequence[ReadRule]) -> None:
        self.rules = tuple(rules)
        self.packed = [_PATH_BENEATH.pack(rule.access, rule.fd) for rule in rules]

    @classmethod
    def open(cls, paths: Iterable[str], *, hidden: Iterable[str] = ()) -> ReadRules:
        """Open what exists of ``paths``; what is in ``hidden``, or below it, stays unreadable.

        Landlock cannot subtract. A directory that contains a hidden path may therefore only be
        listed, and each of its other entries, as they are now, gets a rule of its own; symbolic
        links get it on their target. Names below such a directory, hidden ones too, can be listed.
        A hidden path wins over any path given. Hide package folders, not single modules, whose
        ``__pycache__`` file would remain readable.
        """
        concealed = {os.path.realpath(path) for path in hidden}
        full: set[str] = set()
        listed: set[str] = set()
        for path in paths:
            _collect(os.path.realpath(path), concealed, full, listed)
        wanted = [(path, True) for path in sorted(full) if full.isdisjoint(_parents(path))]
        wanted += [(path, False) for path in sorted(listed) if listed.isdisjoint(_parents(path))]
        opened = (_open_rule(path, content=content) for path, content in wanted)
        return cls([rule for rule in opened if rule is not None])

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors a worker needs until :func:`restrict_files` has returned."""
        return tuple(rule.fd for rule in self.rules)


def _collect(path: str, hidden: set[str], full: set[str], listed: set[str]) -> None:
    """Sort ``path`` into what may be read whole and what may only be listed."""
    if not hidden.isdisjoint([path, *_parents(path)]):
        return
    if not any(path in _parents(concealed) for concealed in hidden):
        full.add(path)
        return
    if path in listed:
        return
    listed.add(path)
    try:
        entries = os.listdir(path)
    except OSError:
        return  # what the zygote cannot list a worker cannot either
    for entry in entries:
        target = os.path.realpath(os.path.join(path, entry))
        # Invariant: a link back to this directory or to one above it opens nothing.
        if target != path and target not in _parents(path):
            _collect(target, hidden, full, listed)


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _open_rule(path: str, *, content: bool) -> ReadRule | None:
    """Open a resolved path for a rule; None when it is missing or of no kind that is read."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        return ReadRule(path, fd, _READABLE if content else READ_DIR)
    if stat.S_ISREG(mode):
        return ReadRule(path, fd, READ_FILE)
    if stat.S_ISCHR(mode):
        return ReadRule(path, fd, READ_FILE | WRITE_FILE)
    os.close(fd)
    return None


def handled_access(abi: int) -> int:
    """Return every file right that a ruleset of this ABI governs."""
    access = (MAKE_SYM << 1) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        access |= right if abi >= since else 0
    return access


def restrict_files(
    rules: ReadRules, writable: Sequence[int | str], *, abi: int, net: bool = True
) -> None:
    """Confine this thread, and all it starts, to the rules and its writable folders, for good.

    Args:
        rules: What may be read.
        writable: Folders, by descriptor or by path, the last part of which is no link.
        abi: The level to use: :func:`landlock_abi`, or less in tests.
        net: Deny TCP bind and connect as well, from ABI 4.

    From ABI 6, abstract Unix sockets and signals are confined too. Needs :func:`no_new_privileges`.
    """
    if abi < 1:
        raise LockdownError("landlock", errno.EOPNOTSUPP)
    ruleset = _create_ruleset(abi, net=net)
    try:
        for rule in rules.packed:
            must("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0)
        for folder in writable:
            _allow_writing(ruleset, folder, WRITABLE & handled_access(abi))
        # What the sandbox refuses is ordinary; a session must not fill the host's audit log.
        must("landlock_restrict_self", ruleset, _LOG_SAME_EXEC_OFF if abi >= 7 else 0)
    finally:
        os.close(ruleset)


def _create_ruleset(abi: int, *, net: bool) -> int:
    # Invariant: every right the ABI knows is handled, so that what no rule grants is denied.
    nets = _NET_BIND_AND_CONNECT_TCP if net else 0
    known = struct.pack("=QQQ", handled_access(abi), nets, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    return must("landlock_create_ruleset", known, size, 0)


def _allow_writing(ruleset: int, folder: int | str, access: int) -> None:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(folder, flags) if isinstance(folder, str) else folder
    try:
        must("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, _PATH_BENEATH.pack(access, fd), 0)
    finally:
        if isinstance(folder, str):
            os.close(fd)


def install_filter(program: FilterProgram, pid: int) -> None:
    """Apply the filter to every thread of this process, whose pid it is, for good.

    Needs :func:`no_new_privileges`. Steps after this one meet the filter themselves.
    """
    if program.machine is not this_machine():
        raise LockdownError("seccomp (filter of another machine)", errno.EINVAL)
    code = program.for_pid(pid)
    fprog = struct.pack("=H6x", len(code) // 8) + bytes(ctypes.c_char_p(code))  # its address
    result = must("seccomp", _SET_MODE_FILTER, _FILTER_FLAG_TSYNC, fprog)
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
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc().capset(header, bytes(24)) != 0:
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


def no_new_privileges() -> None:
    """Make set-uid bits and file capabilities void for this process and all it starts."""
    _must_prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def _must_prctl(step: str, option: int, argument: int) -> None:
    if prctl(option, argument) != 0:
        raise LockdownError(step, ctypes.get_errno())
