"""The zygote: a warm, single-threaded template process that forks workers in milliseconds.

Started by exec with an empty environment, so that it never held a secret. It speaks msgpack
messages over one SOCK_SEQPACKET socket, and does whatever needs a session's uid: forking into it,
signalling its processes, measuring and removing its folder. When the host goes away it ends every
worker, removes every folder and exits.

Host to zygote: ``fork`` (with the worker's sockets attached), ``signal``, ``measure``, ``wipe``.
Zygote to host: ``up``, ``forked`` (with a pidfd attached), ``exited``, ``measured``, ``wiped``,
``refused``.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgpack

from py_code_mode_guest import folders, jail, lockdown, worker
from py_code_mode_guest.processes import end_group, groups_of, kill_groups
from py_code_mode_guest.provision import prepare

_MAX_MESSAGE: Final = 64 * 1024
_CONTROL_FD: Final = 3
_BURIAL_S: Final = 1.0


class Zygote:
    """The loop of the template process."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self._control = control
        self._root: str = config["root"]
        self._workers: dict[int, int] = {}  # pid -> the host's worker id
        self._jails: set[int] = set()  # those of the pids that run tools
        self._folders: dict[str, int | None] = {}  # folder -> the uid that owns it
        self._helpers: set[int] = set()  # children that measure or remove a folder
        self._is_helper = False
        self._confinement, self.report = prepare(config)

    def serve(self) -> None:
        """Answer the host until it is gone."""
        wakeup, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        self._send({"type": "up", **self.report})
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wakeup:
                    os.read(wakeup, 512)
                    self._reap()
                else:
                    self._answer()

    def _answer(self) -> None:
        message, fds = _receive(self._control)
        if message is None:
            self._finish()
        handler: Callable[..., None] = getattr(self, f"_on_{message['type']}")
        handler(message, fds)
        for fd in fds:
            os.close(fd)

    def _on_fork(self, message: dict[str, Any], fds: list[int]) -> None:
        folder, uid, is_jail = message["folder"], message["uid"], message["jail"]
        try:
            pid = os.fork()
        except OSError as error:
            self._send({"type": "refused", "id": message["id"], "reason": f"fork: {error}"})
            return
        if pid == 0:
            self._become(jail.main if is_jail else worker.main, fds, folder, uid)
        self._workers[pid] = message["id"]
        self._folders[folder] = uid
        if is_jail:
            self._jails.add(pid)
        pidfd = os.pidfd_open(pid)
        self._send({"type": "forked", "id": message["id"], "pid": pid}, [pidfd])
        os.close(pidfd)

    def _become(
        self, main: Callable[..., None], fds: list[int], folder: str, uid: int | None
    ) -> None:
        path = os.path.join(self._root, folder)
        for known in (self._workers, self._folders, self._jails):
            known.clear()  # what is known of other sessions is none of this one's business
        try:
            first, *others = [socket.socket(fileno=fd) for fd in fds]
            main(first, path, uid, self._confinement, *others)
        except BaseException as error:  # noqa: BLE001 - the child must not return to this loop
            text = f"{type(error).__name__}: {error}"
            reason = msgpack.packb({"type": "failed", "reason": text[:2000]})
            os.write(_CONTROL_FD, len(reason).to_bytes(4, "little") + reason)
        finally:
            os._exit(70)

    def _on_signal(self, message: dict[str, Any], _fds: list[int]) -> None:
        for pid, worker_id in self._workers.items():
            if worker_id == message["id"]:
                self._signal(pid, message["signal"])

    def _signal(self, pid: int, number: int) -> None:
        """Signal a worker or a jail: ours until reaped, so the pid cannot be another process's."""
        is_end = pid in self._jails and number == signal.SIGKILL
        groups = groups_of(pid) if is_end else ()
        os.kill(pid, number)
        # Before it has ended: among thousands of its programs it may wait long for a core.
        kill_groups(groups)

    def _on_measure(self, message: dict[str, Any], _fds: list[int]) -> None:
        """In a child: a walk may be slow, and as the folder's owner nothing is out of bounds."""

        def measure() -> None:
            sizes = {
                folder: folders.measure(os.path.join(self._root, folder), self._folders[folder])
                for folder in message["folders"]
                if folder in self._folders
            }
            self._send({"type": "measured", "token": message["token"], "sizes": sizes})

        self._in_child(measure)

    def _on_wipe(self, message: dict[str, Any], _fds: list[int]) -> None:
        folder = message["folder"]
        uid = self._folders.pop(folder, None)

        def wipe() -> None:
            error = folders.wipe(os.path.join(self._root, folder), uid)
            self._send({"type": "wiped", "folder": folder, "error": error})

        self._in_child(wipe)

    def _in_child(self, work: Callable[[], None]) -> None:
        try:
            pid = os.fork()
        except OSError:
            work()  # no room for a process: slower, and just as right
            return
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                self._is_helper = True
                work()
            finally:
                os._exit(0)
        self._helpers.add(pid)

    def _reap(self) -> bool:
        """Bury the children that have ended; returns whether any is left."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if ended is None:
                return True
            self._bury(ended.si_pid)

    def _bury(self, pid: int) -> None:
        """Take the exit of a child, which may be an orphan that a jail left."""
        if pid not in self._workers and pid not in self._helpers:
            end_group(pid, spared=self._is_worker)
        status = os.waitpid(pid, 0)[1]
        self._helpers.discard(pid)
        self._jails.discard(pid)
        worker_id = self._workers.pop(pid, None)
        if worker_id is not None:
            code = os.waitstatus_to_exitcode(status)
            self._send({"type": "exited", "id": worker_id, "exit_code": code})

    def _is_worker(self, pid: int) -> bool:
        return pid in self._workers and pid not in self._jails

    def _send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [msgpack.packb(message)], fds or [])
        except (BrokenPipeError, ConnectionError):
            if self._is_helper:
                os._exit(0)  # what it did is done; the rest is the zygote's
            self._finish()

    def _finish(self) -> None:
        """The host is gone: leave no process and no folder behind."""
        signal.set_wakeup_fd(-1)
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                self._signal(pid, signal.SIGKILL)
        for pid in (*self._workers, *self._helpers):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._workers.clear()
        deadline = time.monotonic() + _BURIAL_S
        # What jails left is ours by now, and it is killed: nothing is left to the next parent.
        while self._reap() and time.monotonic() < deadline:
            time.sleep(0.005)
        for folder, uid in self._folders.items():
            folders.wipe(os.path.join(self._root, folder), uid)
        folders.remove_root(self._root)
        os._exit(0)


def _receive(control: socket.socket) -> tuple[dict[str, Any] | Any, list[int]]:
    """Return the next message and the descriptors with it; (None, []) when the host is gone."""
    try:
        data, ancillary, _, _ = control.recvmsg(_MAX_MESSAGE, socket.CMSG_SPACE(16))
    except ConnectionError:
        return None, []
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return (msgpack.unpackb(data) if data else None), list(fds)


def main() -> None:
    """Serve the control socket whose descriptor is the one argument."""
    given = int(sys.argv[1])
    if given == _CONTROL_FD:
        os.set_inheritable(given, False)  # noqa: FBT003 - the standard library's signature
    else:
        os.dup2(given, _CONTROL_FD, inheritable=False)
        os.close(given)
    control = socket.socket(fileno=_CONTROL_FD)
    lockdown.set_dumpable(dumpable=False)
    # What a jail leaves is buried here: in a container, process 1 is the host, which does not.
    lockdown.adopt_orphans()
    config, _ = _receive(control)
    if config is None:
        return
    Zygote(control, config).serve()


if __name__ == "__main__":
    main()
