"""Landlock: which files a process may read, run and change, and which TCP ports it may reach."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from py_code_mode_guest.syscalls import LockdownError, call, must, this_machine

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
_RULE_NET_PORT, _CONNECT_TCP = 2, 2
_NET_PORT: Final = struct.Struct("=QQ")
_PATH_BENEATH: Final = struct.Struct("=Qi")  # struct landlock_path_beneath_attr is packed


def landlock_abi() -> int:
    """Return the kernel's Landlock ABI, 0 where it has none or it is switched off."""
    if this_machine() is None:
        return 0
    return max(call("landlock_create_ruleset", 0, 0, _CREATE_RULESET_VERSION), 0)


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
    def open(
        cls, paths: Iterable[str], *, hidden: Iterable[str] = (), execute: bool = False
    ) -> ReadRules:
        """Open what exists of ``paths``; what is in ``hidden``, or below it, stays unreadable.

        Landlock cannot subtract. A directory that contains a hidden path may therefore only be
        listed, and each of its other entries, as they are now, gets a rule of its own; symbolic
        links get it on their target. Names below such a directory, hidden ones too, can be listed.
        With ``execute`` what may be read may also be run. A hidden path wins over any path given.
        Hide package folders, not single modules, whose ``__pycache__`` file would stay readable.
        """
        concealed = {os.path.realpath(path) for path in hidden}
        full: set[str] = set()
        listed: set[str] = set()
        for path in paths:
            _collect(os.path.realpath(path), concealed, full, listed)
        wanted = [(path, True) for path in sorted(full) if full.isdisjoint(_parents(path))]
        wanted += [(path, False) for path in sorted(listed) if listed.isdisjoint(_parents(path))]
        opened = (_open_rule(path, content=content, execute=execute) for path, content in wanted)
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


def _open_rule(path: str, *, content: bool, execute: bool) -> ReadRule | None:
    """Open a resolved path for a rule; None when it is missing or of no kind that is read."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    mode = os.fstat(fd).st_mode
    run = EXECUTE if execute else 0
    if stat.S_ISDIR(mode):
        return ReadRule(path, fd, (_READABLE | run) if content else READ_DIR)
    if stat.S_ISREG(mode):
        return ReadRule(path, fd, READ_FILE | run)
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
    rules: ReadRules,
    writable: Sequence[int | str],
    *,
    abi: int,
    net: bool = True,
    connect: Sequence[int] = (),
) -> None:
    """Confine this thread, and all it starts, to the rules and its writable folders, for good.

    Args:
        rules: What may be read.
        writable: Folders, by descriptor or by path, the last part of which is no link.
        abi: The level to use: :func:`landlock_abi`, or less in tests.
        net: Deny TCP bind and connect as well, from ABI 4.
        connect: TCP ports that may be connected to all the same.

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
        for port in connect if net and abi >= 4 else ():
            rule = _NET_PORT.pack(_CONNECT_TCP, port)
            must("landlock_add_rule", ruleset, _RULE_NET_PORT, rule, 0)
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
