"""Confining a forked child: each step takes away what the next no longer needs.

A worker ends with one socket, one folder, and the system calls of its filter. A jail keeps the
right to start programs, each of which is confined before it is one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from py_code_mode_guest import lockdown
from py_code_mode_guest.processes import threads_in_all

MIB: Final = 1024 * 1024
#: Room in the address space for libraries mapped later; their pages are the kernel's to drop.
_LIBRARY_ROOM: Final = 1024 * MIB
_THREAD_STACK: Final = 2 * MIB
#: Processes and threads that a session's jail and its programs may have beside the worker's.
_TOOL_PROCESSES: Final = 256
#: How many more than there are at its start, where the kernel counts those of all sessions as one.
_COMMON_PROCESSES: Final = 2048
SOCKET_FD: Final = 3


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a session may use, and the parts of the lockdown that the zygote made ready once."""

    enforce: bool
    landlock_abi: int
    own_uid: bool
    rules: lockdown.ReadRules
    program: lockdown.FilterProgram
    tool_rules: lockdown.ReadRules
    tool_programs: Mapping[bool, lockdown.FilterProgram]  # by whether they have a network
    root: str
    memory_mb: int
    max_file_mb: int
    max_open_files: int
    max_threads: int
    zygote_pid: int
    address_space: int
    data: int


def confine_worker(
    sock: socket.socket,
    folder: str,
    uid: int | None,
    confinement: Confinement,
    grants: socket.socket | None = None,
) -> socket.socket:
    """Lock this process down for good; returns the socket under its new descriptor.

    ``folder`` is made here, before the change of uid: what is in it belongs to the session, the
    entry for it does not. ``grants`` is kept as it is.
    """
    _detach(sock)
    _limit(confinement, own_uid=uid is not None)
    os.mkdir(folder, 0o700)
    if uid is not None:
        os.chown(folder, uid, uid)
    _take_uid(uid, confinement)
    _settle(folder)
    if confinement.enforce:
        lockdown.no_new_privileges()
        if confinement.landlock_abi:
            lockdown.restrict_files(confinement.rules, [folder], abi=confinement.landlock_abi)
    kept = [] if grants is None else [grants.fileno()]
    lockdown.close_all_fds_but([0, 1, 2, SOCKET_FD, *kept])
    # Not before: the rules have a descriptor for each package beside the host's own.
    _set_limit(resource.RLIMIT_NOFILE, confinement.max_open_files)
    if confinement.enforce:
        lockdown.install_filter(confinement.program, os.getpid())
    return socket.socket(fileno=SOCKET_FD)


def confine_jail(
    sock: socket.socket, folder: str, uid: int | None, confinement: Confinement
) -> socket.socket:
    """Give up what a jail does not need; :func:`confine_slot` does the rest, per program."""
    _detach(sock)
    _limit(confinement, own_uid=uid is not None)
    if uid is None:
        _set_limit(resource.RLIMIT_NPROC, threads_in_all() + _COMMON_PROCESSES)
    _take_uid(uid, confinement)
    _settle(folder)
    rules = confinement.tool_rules.fds
    lockdown.close_all_fds_but([0, 1, 2, SOCKET_FD, *rules])
    _set_limit(resource.RLIMIT_NOFILE, confinement.max_open_files + len(rules))
    return socket.socket(fileno=SOCKET_FD)


def confine_slot(
    folder: str, group: int, confinement: Confinement, *, network: bool, ports: Sequence[int] | None
) -> None:
    """Confine this *thread*, and so every program it starts, to the session's folder.

    Landlock, no_new_privs and (without TSYNC) seccomp belong to a thread and are inherited.
    """
    if not confinement.enforce:
        return
    lockdown.no_new_privileges()
    if confinement.landlock_abi:
        lockdown.restrict_files(
            confinement.tool_rules,
            [folder],
            abi=confinement.landlock_abi,
            net=not network or ports is not None,
            connect=(ports or ()) if network else (),
        )
    lockdown.install_filter(confinement.tool_programs[network], group, whole_process=False)


def _take_uid(uid: int | None, confinement: Confinement) -> None:
    if uid is not None:
        lockdown.become(uid, uid)
    os.umask(0o077)
    if confinement.enforce:
        lockdown.drop_capabilities()
        lockdown.set_dumpable(dumpable=False)
    # After the change of uid, which would clear it.
    lockdown.die_with_parent(confinement.zygote_pid)


def _settle(folder: str) -> None:
    """Make the folder this process's home."""
    tempfile.tempdir = folder
    os.chdir(folder)


def _detach(sock: socket.socket) -> None:
    """Leave the zygote's session, signals and descriptors behind, but for the rules'."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(sock.detach(), SOCKET_FD, inheritable=False)


def _limit(confinement: Confinement, *, own_uid: bool) -> None:
    quota = confinement.memory_mb * MIB
    limits = {
        # Private memory is what a session is charged for; the address space bounds the rest.
        resource.RLIMIT_DATA: confinement.data + quota,
        resource.RLIMIT_AS: confinement.address_space + quota + _LIBRARY_ROOM,
        resource.RLIMIT_FSIZE: confinement.max_file_mb * MIB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if own_uid:  # without one the kernel would count every session's threads together
        limits[resource.RLIMIT_NPROC] = confinement.max_threads + _TOOL_PROCESSES
    for what, value in limits.items():
        _set_limit(what, value)
    with contextlib.suppress(OSError):  # no /proc, or a supervisor that fixed it: not security
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")
        os.close(fd)
    os.nice(5)
    threading.stack_size(_THREAD_STACK)


def _set_limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (bounded, bounded))
