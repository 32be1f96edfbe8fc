"""The host's side of the zygote: start it, ask it for workers, let it do what needs their uids."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from py_code_mode.errors import SandboxUnavailableError, WorkerStartError
from py_code_mode.models import Limits
from py_code_mode.workers.control import Control
from py_code_mode.workers.launcher import Launcher, Started, start_zygote

#: The trusted half's own source, which agent code has no business reading.
_HOST_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 10.0
_TIERS: Final = "ABCD"


@dataclass(frozen=True, slots=True)
class ZygoteConfig:
    """How a zygote is started. ``command`` goes before the interpreter (tests drop rights so).

    ``launcher`` starts it where the host has given up root.
    """

    root: str
    limits: Limits
    preload: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    enforce: bool = True
    max_landlock_abi: int = 99
    uid_probe: int | None = None
    command: tuple[str, ...] = ()
    launcher: Launcher | None = None

    @property
    def own_uids(self) -> bool:
        """Whether sessions may have uids of their own, if the kernel lets them."""
        return self.enforce and (os.geteuid() == 0 or self.launcher is not None)

    def message(self) -> dict[str, Any]:
        """Return the zygote's first message."""
        return {
            "root": self.root,
            "preload": list(self.preload),
            "readable": list(self.readable),
            "hidden": [_HOST_PACKAGE],
            "enforce": self.enforce,
            "max_landlock_abi": self.max_landlock_abi,
            "uid_probe": self.uid_probe,
            "memory_mb": self.limits.memory_mb,
            "max_file_mb": self.limits.max_file_mb,
            "max_open_files": self.limits.max_open_files,
            "max_threads": self.limits.max_threads,
        }


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the zygote found that the kernel enforces here."""

    landlock: int
    seccomp: bool
    own_uid: bool

    @property
    def tier(self) -> str:
        """The sandbox tier, A (strongest) to D, or ``none`` (see ``docs/explanation``)."""
        if not self.seccomp:
            return "none"
        return {(True, True): "A", (True, False): "B", (False, True): "C", (False, False): "D"}[
            bool(self.landlock), self.own_uid
        ]

    def check(self, least: str) -> None:
        """Raise SandboxUnavailableError where the tier is below ``least``."""
        if least == "none":
            return
        if self.tier in _TIERS and _TIERS.index(self.tier) <= _TIERS.index(least):
            return
        raise SandboxUnavailableError(
            f"the sandbox reaches tier {self.tier} here and {least} is required (Landlock ABI"
            f" {self.landlock}, seccomp {'yes' if self.seccomp else 'no'}, own uids"
            f" {'yes' if self.own_uid else 'no'}). Run on Linux 5.13 or later with Landlock, or as"
            ' root; for code you trust, sandbox="off" (a server\'s SANDBOX=off) enforces nothing.'
        )


class Zygote:
    """One zygote process and the conversation with it."""

    def __init__(self, config: ZygoteConfig, on_exit: Callable[[int, int | None], None]) -> None:
        self._config = config
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._up: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._forks: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._measures: dict[int, asyncio.Future[dict[str, int]]] = {}
        self._wipes: dict[str, asyncio.Future[str | None]] = {}
        self._exits: dict[int, asyncio.Future[None]] = {}
        self._token = 0
        self._alive = False
        self.forks = 0
        self.kernel = Kernel(0, seccomp=False, own_uid=False)
        self.preload_failed: dict[str, str] = {}

    async def start(self) -> None:
        """Start the process and wait until it can fork. Raises WorkerStartError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        launcher, before = self._config.launcher, self._config.command
        self._process: Started
        with theirs:
            if launcher is None:
                self._process = start_zygote(theirs, self._errors, before)
            else:
                self._process = await asyncio.to_thread(launcher.start, theirs, self._errors)
        self._control = Control(ours, on_message=self._take, on_close=self._close)
        self._alive = True
        self._send(self._config.message())
        try:
            up = await asyncio.wait_for(self._up, _START_TIMEOUT_S)
        except asyncio.CancelledError:
            await self.stop()
            raise
        except (TimeoutError, WorkerStartError):
            await self._end()
            words = self._last_words()
            self._errors.close()
            raise WorkerStartError(f"the zygote did not start: {words}") from None
        self.kernel = Kernel(up["landlock"], seccomp=up["seccomp"], own_uid=up["own_uid"])
        self.preload_failed = up["preload_failed"]

    @property
    def alive(self) -> bool:
        """False once the process has gone, and with it every worker it forked."""
        return self._alive

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def fork(
        self,
        worker_id: int,
        sock: socket.socket,
        folder: str,
        uid: int | None,
        *,
        jail: bool = False,
        grants: socket.socket | None = None,
    ) -> tuple[int, int]:
        """Fork a worker, or the jail beside one, onto ``sock``; returns its pid and a pidfd.

        ``grants`` is the socket through which a broker's connections come to it.

        Raises WorkerStartError.
        """
        future: asyncio.Future[tuple[int, int]] = self._loop.create_future()
        self._forks[worker_id] = future
        self.forks += 1
        self._exits[worker_id] = self._loop.create_future()
        message = {"type": "fork", "id": worker_id, "folder": folder, "uid": uid, "jail": jail}
        fds = [one.fileno() for one in (sock, grants) if one is not None]
        self._send(message, *fds)
        try:
            return await future
        except WorkerStartError:
            self._ended(worker_id)
            raise
        finally:
            self._forks.pop(worker_id, None)

    def signal(self, worker_id: int, number: int) -> None:
        """Send a signal to a worker, whatever uid it has; one that has ended gets nothing."""
        if self._alive and worker_id in self._exits:
            self._send({"type": "signal", "id": worker_id, "signal": number})

    async def exited(self, worker_id: int) -> None:
        """Wait until the worker's process is gone for certain."""
        if worker_id in self._exits:
            await asyncio.shield(self._exits[worker_id])

    async def measure(self, folders: list[str]) -> dict[str, int]:
        """Return the bytes on disk of each folder that exists."""
        self._token += 1
        token = self._token
        future: asyncio.Future[dict[str, int]] = self._loop.create_future()
        self._measures[token] = future
        self._send({"type": "measure", "token": token, "folders": folders})
        try:
            return await future
        finally:
            self._measures.pop(token, None)

    async def wipe(self, folder: str) -> str | None:
        """Remove a worker's folder; returns why something was left, or None."""
        if not self._alive:
            return None  # the zygote removes every folder when it ends
        future: asyncio.Future[str | None] = self._loop.create_future()
        self._wipes[folder] = future
        self._send({"type": "wipe", "folder": folder})
        try:
            return await future
        finally:
            self._wipes.pop(folder, None)

    async def stop(self) -> None:
        """End the process, its workers and their folders."""
        await self._end()
        self._errors.close()

    async def _end(self) -> None:
        self._close()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _close(self) -> None:
        if not self._alive:
            return
        self._alive = False
        self._control.close()
        self._abandon()

    def _abandon(self) -> None:
        """Nobody will answer any more: wake everyone who waits."""
        gone = WorkerStartError("the zygote has ended")
        waiting_for_start: list[asyncio.Future[Any]] = [self._up, *self._forks.values()]
        for future in waiting_for_start:
            if not future.done():
                future.set_exception(gone)
        for waiting in self._measures.values():
            if not waiting.done():
                waiting.set_result({})
        for wiped in self._wipes.values():
            if not wiped.done():
                wiped.set_result(None)
        for worker_id in list(self._exits):
            self._ended(worker_id)
            self._on_exit(worker_id, None)

    def _send(self, message: dict[str, Any], *fds: int) -> None:
        if not self._alive:
            raise WorkerStartError("the zygote has ended")
        self._control.send(message, *fds)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        match message["type"]:
            case "forked":
                self._forked(message["id"], message["pid"], fds[0])
            case "exited":
                self._ended(message["id"])
                self._on_exit(message["id"], message["exit_code"])
            case "measured":
                _resolve(self._measures.get(message["token"]), message["sizes"])
            case "wiped":
                _resolve(self._wipes.get(message["folder"]), message["error"])
            case "up":
                _resolve(self._up, message)
            case "refused":
                future = self._forks.get(message["id"])
                if future is not None and not future.done():
                    future.set_exception(WorkerStartError(message["reason"]))

    def _forked(self, worker_id: int, pid: int, pidfd: int) -> None:
        future = self._forks.get(worker_id)
        if future is None or future.done():
            os.close(pidfd)
            self.signal(worker_id, signal.SIGKILL)
            return
        future.set_result((pid, pidfd))

    def _ended(self, worker_id: int) -> None:
        _resolve(self._exits.pop(worker_id, None), None)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._errors.seek(0)
            return self._errors.read()[-2000:].decode("utf-8", "replace").strip() or "no message"
        return "no message"


def _resolve(future: asyncio.Future[Any] | None, value: Any) -> None:
    if future is not None and not future.done():
        future.set_result(value)
