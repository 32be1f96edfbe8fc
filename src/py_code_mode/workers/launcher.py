"""What is left of root where the server gives it up: a process that starts zygotes, and no more.

A zygote needs four capabilities, to give each session a uid of its own; the server needs none. So a
server that is started as root forks this process before it has read a secret, and takes another
uid. What the launcher runs is fixed here: whoever takes over the server can ask it for a zygote,
and for the end of one, and for nothing else.

Server to launcher: ``start`` (with the zygote's socket and a file for what it says attached),
``kill``. Launcher to server: one message when it is confined, then for each start the pid of what
was started (with a pidfd attached), 0 for none.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final, NoReturn, Protocol

from py_code_mode.errors import WorkerStartError
from py_code_mode_guest import lockdown
from py_code_mode_guest.syscalls import prctl

_MESSAGE: Final = struct.Struct("<iq")  # the verb, and a pid
_START, _KILL = 1, 2
_PR_CAPBSET_DROP: Final = 24
#: CHOWN, KILL, SETGID, SETUID; and SETPCAP, with which the zygote takes even these from workers.
_KEPT_CAPABILITIES: Final = frozenset({0, 5, 6, 7, 8})
#: The only environment a zygote, and so a worker, ever has. None of it is the host's.
_ENVIRONMENT: Final[Mapping[str, str]] = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


class Started(Protocol):
    """A zygote's process, whoever started it."""

    @property
    def pid(self) -> int:
        """The process id."""

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for its end. Raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """Kill it."""


def start_zygote(
    control: socket.socket, errors: IO[bytes], command: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a zygote as a child of this process. ``command`` goes before the interpreter."""
    interpreter = [*command, sys.executable, "-I", "-B", "-X", "utf8"]
    return subprocess.Popen(  # noqa: S603 - our own program, vforked
        [*interpreter, "-m", "py_code_mode_guest.zygote", str(control.fileno())],
        env=_ENVIRONMENT,
        pass_fds=[control.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        cwd="/",
        start_new_session=True,
    )


class Launcher:
    """The server's side. Made by :func:`give_up_root`; ends with the server."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def start(self, control: socket.socket, errors: IO[bytes]) -> Launched:
        """Start a zygote. Raises WorkerStartError."""
        with self._lock:
            try:
                fds = [control.fileno(), errors.fileno()]
                socket.send_fds(self._sock, [_MESSAGE.pack(_START, 0)], fds)
                data, received, _, _ = socket.recv_fds(self._sock, _MESSAGE.size, 1)
            except OSError as error:
                raise WorkerStartError(f"the launcher has ended: {error}") from None
        if not received:
            raise WorkerStartError("the launcher could not start a zygote; restart the server")
        return Launched(self, _MESSAGE.unpack(data)[1], received[0])

    def kill(self, pid: int) -> None:
        """Kill a zygote; one that has ended, or is none, is left alone."""
        with self._lock, contextlib.suppress(OSError):
            self._sock.send(_MESSAGE.pack(_KILL, pid))


class Launched:
    """A zygote that is not our child: its end is seen through a pidfd."""

    def __init__(self, launcher: Launcher, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._launcher = launcher
        self._pidfd = pidfd

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        if self._pidfd < 0:
            return
        if not select.select([self._pidfd], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("zygote", timeout or 0)
        os.close(self._pidfd)
        self._pidfd = -1

    def kill(self) -> None:
        """Kill it."""
        self._launcher.kill(self.pid)


def give_up_root(uid: int, *, secret: int) -> Launcher | None:
    """Become ``uid``, and leave a launcher behind; None where there is nothing to give up.

    Call it before any thread is started or secret read; ``secret`` is the descriptor of what has
    them. Root without CAP_SETUID and CAP_SETGID cannot change its uid, and has little to lose.
    """
    if os.geteuid() != 0:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        os.close(secret)
        ours.close()
        _serve(theirs)
    theirs.close()
    ours.recv(_MESSAGE.size)
    try:
        lockdown.become(uid, uid)
    except lockdown.LockdownError:
        ours.close()
        os.waitpid(pid, 0)
        return None
    lockdown.drop_capabilities()
    lockdown.no_new_privileges()
    return Launcher(ours)


def _serve(sock: socket.socket) -> NoReturn:
    """Be the launcher until the server is gone; the zygotes see that for themselves."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the server's to answer
        _keep_few_capabilities()
        lockdown.no_new_privileges()
        lockdown.set_dumpable(dumpable=False)
        sock.send(_MESSAGE.pack(_START, 0))  # as little as it can be from now on
        _answer(sock)
    finally:
        os._exit(0)


def _keep_few_capabilities() -> None:
    """Give up what no zygote needs. What is not ours to drop from the bounding set we never had."""
    for capability in set(range(64)) - _KEPT_CAPABILITIES:
        prctl(_PR_CAPBSET_DROP, capability)
    with open("/proc/self/status", encoding="ascii") as file:
        had = dict(line.split(":", 1) for line in file)
    kept = int(had["CapPrm"], 16) & sum(1 << capability for capability in _KEPT_CAPABILITIES)
    lockdown.set_capabilities(kept)


def _answer(sock: socket.socket) -> None:
    children: dict[int, subprocess.Popen[bytes]] = {}  # by their pidfds
    while True:
        ready = select.select([sock.fileno(), *children], [], [])[0]
        for pidfd in children.keys() & ready:
            children.pop(pidfd).wait()
            os.close(pidfd)
        if sock.fileno() not in ready:
            continue
        data, fds, _, _ = socket.recv_fds(sock, _MESSAGE.size, 2)
        if not data:
            return
        verb, wanted = _MESSAGE.unpack(data)
        if verb == _START:
            _start(sock, fds, children)
            continue
        for child in children.values():
            if child.pid == wanted:
                child.kill()


def _start(
    sock: socket.socket, fds: list[int], children: dict[int, subprocess.Popen[bytes]]
) -> None:
    with socket.socket(fileno=fds[0]) as control, os.fdopen(fds[1], "wb") as errors:
        try:
            child = start_zygote(control, errors)
        except OSError:
            sock.send(_MESSAGE.pack(_START, 0))
            return
    pidfd = os.pidfd_open(child.pid)
    children[pidfd] = child
    socket.send_fds(sock, [_MESSAGE.pack(_START, child.pid)], [pidfd])
