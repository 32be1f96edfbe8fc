"""The place where attempts are made: a host with secrets, servers and files to be had."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import py_code_mode
from hostile.attempt import PRELUDE, Attempt, Setup, is_as_seen, words
from hostile.names import allowed, look_up
from hostile.supplies import packages_in, stock
from py_code_mode import Limits, MemoryStorage, RunResult
from py_code_mode.models import SessionId
from py_code_mode.services.registry import Services
from py_code_mode.sessions.manager import SessionManager
from py_code_mode.sessions.session import PRELOAD
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig

#: The host's secret, in its memory and in its environment. Guests look for its shape.
CANARY: Final = f"HOSTILE_CANARY_{secrets.token_hex(8)}"
LIMITS: Final = Limits(
    interrupt_grace_s=0.5,
    memory_mb=256,
    disk_mb=24,
    max_file_mb=16,
    max_open_files=128,
    max_threads=32,
    max_output_bytes=256 * 1024,
    idle_cpu_s=0.5,
    pool_size=0,
)
#: Seconds that what an attempt leaves behind would sleep, by which it is found again.
MARK: Final = 36543
#: More than the programs of one jail that may run at once, of each kind of network.
_MAX_SLOTS: Final = 100
_ATTACKER: Final = SessionId("attacker")
_SIBLING: Final = SessionId("sibling")
_SIGNALS: Final = (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGIO, signal.SIGURG)
_SETTLING_S: Final = 3.0
_STALL_S: Final = 1.5


class Arena:
    """One set-up with a session that attacks and a session that is attacked."""

    def __init__(self, manager: SessionManager, folder: str, servers: Servers) -> None:
        self.manager = manager
        self._folder = folder
        self._servers = servers
        self._signals: list[int] = []
        self.facts: dict[str, Any] = {}

    async def prepare(self) -> None:
        """Start the sibling, which has a secret and a file, and learn what attackers may know."""
        code = f"import os\nsecret = {CANARY!r}\nopen('own', 'w').write(secret)\n"
        result = await self._run(_SIBLING, f"{code}[os.getpid(), os.getuid(), os.getcwd()]")
        assert isinstance(result.value, list), result.error
        pid, uid, folder = result.value
        zygote = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        self.facts = {
            **self._servers.facts,
            "pid": os.getpid(),
            "zygote": zygote,
            "sibling": pid,
            "sibling_uid": uid,
            "sibling_folder": folder,
            "prelude": PRELUDE,
            "mark": MARK,
            "victim": os.path.join(self._folder, "victim"),
            "source": os.path.dirname(os.path.abspath(py_code_mode.__file__)),
        }

    async def survive(self, attempt: Attempt) -> RunResult:
        """Make the attempt and assert that nothing came of it; returns its result."""
        before = self._effects()
        with self._memory_is_flat(attempt.growth_mb):
            async with self._loop_turns():
                result = await self._run(
                    _ATTACKER, attempt.source(self.facts), timeout_s=attempt.timeout_s
                )
                await asyncio.sleep(attempt.wait_s)
            assert CANARY not in repr(result)
            assert is_as_seen(result, attempt.sees), (words(result), result.error)
        following = await self._run(_ATTACKER, "1 + 1")
        assert (following.value, following.error_type) == (2, None), following.error
        assert following.state.lost == attempt.loses
        after = self._effects()
        changed = {
            name: (before[name], after[name]) for name in before if before[name] != after[name]
        }
        assert not changed, changed
        await self.settle()
        return result

    async def run(self, code: str, timeout_s: float) -> RunResult:
        """Run code in the session that attacks, and assert nothing."""
        return await self._run(_ATTACKER, code, timeout_s=timeout_s)

    async def settle(self) -> None:
        """Assert that no process lives in this set-up but the zygote and the workers."""
        deadline = time.monotonic() + _SETTLING_S
        while strangers := self._strangers():
            assert time.monotonic() < deadline, f"leaked processes: {strangers}"
            await asyncio.sleep(0.02)

    async def sibling_is_whole(self) -> bool:
        """Say whether the attacked session still has its variable and its file."""
        result = await self._run(_SIBLING, "open('own').read() == secret")
        return result.value is True and not result.state.lost

    def started_with(self, pid: int) -> set[str]:
        """Return which secrets a process's command line and environment show to the host."""
        shown = Path(f"/proc/{pid}/cmdline").read_text()
        if not self.is_hidden(pid):
            shown += Path(f"/proc/{pid}/environ").read_text()
        values = {value for value in os.environ.values() if len(value) > 20}
        # A folder is no secret, and the interpreter's path may begin with it.
        secret = {CANARY, *(value for value in values if not os.path.exists(value))}
        return {value for value in secret if value in shown}

    def descriptors(self, pid: int) -> dict[int, str]:
        """Return the open descriptors of a process and what they are."""
        base = f"/proc/{pid}/fd"
        return {int(fd): os.readlink(f"{base}/{fd}") for fd in os.listdir(base)}

    def is_hidden(self, pid: int) -> bool:
        """Say whether the kernel keeps even the host from looking into a process."""
        try:
            Path(f"/proc/{pid}/environ").read_bytes()
        except PermissionError:
            return True
        return False

    async def folders_are_those_of_workers(self) -> bool:
        """Say whether every folder below the root is that of a living worker, within seconds."""
        root = os.path.dirname(self.facts["sibling_folder"])
        deadline = time.monotonic() + _SETTLING_S
        while set(os.listdir(root)) != {w.folder for w in self.manager.pool.workers}:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _run(self, session: SessionId, code: str, *, timeout_s: float = 5.0) -> RunResult:
        return await self.manager.run(session, code, timeout_s=timeout_s)

    def _effects(self) -> dict[str, object]:
        """Return all that must be the same before and after."""
        return {
            "files": _tree(self.facts["victim"]),
            "connections": self._servers.hits(),
            "signals": list(self._signals),
            "sibling": _is_alive(self.facts["sibling"]),
            "zygote": _is_alive(self.facts["zygote"]),
            "host": [
                (os.getpriority(os.PRIO_PROCESS, pid), sorted(os.sched_getaffinity(pid)))
                for pid in (os.getpid(), self.facts["zygote"], self.facts["sibling"])
            ],
            "limits": [resource.getrlimit(n) for n in range(resource.RLIM_NLIMITS)]
            if hasattr(resource, "RLIM_NLIMITS")
            else [resource.getrlimit(n) for n in range(16)],
            "mounts": _mounts(),
            "ipc": [Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg")],
            "hostname": os.uname().nodename,
        }

    def _strangers(self) -> set[int]:
        """Return the processes of sessions, and what they left, but for workers and idle jails."""
        jails = {jail.pid for jail in self.manager.pool.jails.processes}
        ours = {worker.pid for worker in self.manager.pool.workers} | jails
        # A jail has a few children that have ended: leaders of its programs' groups.
        leaders = {pid for jail in jails for pid in _children(jail) if not _is_alive(pid)}
        assert len(leaders) <= _MAX_SLOTS * len(jails)
        return self._descendants() - ours - leaders | _marked()

    def _descendants(self) -> set[int]:
        found: set[int] = set()
        waiting = [self.facts["zygote"]]
        while waiting:
            children = _children(waiting.pop())
            found |= children
            waiting += children
        return found

    @contextmanager
    def _memory_is_flat(self, growth_mb: int) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _memory_mb("VmRSS")
        yield
        growth = _memory_mb("VmHWM") - before
        assert growth <= growth_mb, f"the host grew by {growth} MiB"

    @asynccontextmanager
    async def _loop_turns(self) -> AsyncIterator[None]:
        """Assert that the host goes on serving others meanwhile."""
        longest = 0.0

        async def tick() -> None:
            nonlocal longest
            while True:
                started = time.monotonic()
                await asyncio.sleep(0.05)
                longest = max(longest, time.monotonic() - started)

        ticker = asyncio.create_task(tick())
        try:
            yield
        finally:
            await asyncio.sleep(0)
            ticker.cancel()
        assert longest < _STALL_S, f"the host's event loop stood still for {longest:.1f} s"

    @contextmanager
    def count_signals(self) -> Iterator[None]:
        """Note signals that reach the host instead of dying of them."""
        kept = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, lambda got, _: self._signals.append(got))
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)


class Servers:
    """Sockets that listen on this host. The kernel completes a connection; we count those."""

    def __init__(self, folder: str) -> None:
        self._hits = 0
        name = secrets.token_hex(8)
        path, dgram_path = os.path.join(folder, "stream"), os.path.join(folder, "dgram")
        self._listening = [
            _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            _bound(socket.AF_UNIX, socket.SOCK_STREAM, path),
            _bound(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{name}-stream"),
        ]
        self._receiving = [
            _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            _bound(socket.AF_UNIX, socket.SOCK_DGRAM, dgram_path),
            _bound(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{name}-dgram"),
        ]
        self._open = _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        for one in (*self._listening, self._open):
            one.listen()
        for known in (path, dgram_path):
            os.chmod(known, 0o777)
        self.facts: dict[str, Any] = {
            "tcp": self._listening[0].getsockname()[1],
            "open": self._open.getsockname()[1],
            "udp": self._receiving[0].getsockname()[1],
            "stream": path,
            "dgram": dgram_path,
            "abstract_stream": f"\0{name}-stream",
            "abstract_dgram": f"\0{name}-dgram",
        }

    def hits(self) -> int:
        """Return how many connections and datagrams came in so far."""
        for server in self._listening:
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                self._hits += 1
        for server in self._receiving:
            with contextlib.suppress(BlockingIOError):
                server.recv(1)
                self._hits += 1
        with contextlib.suppress(BlockingIOError):  # whoever may connect there is not counted
            while True:
                self._open.accept()[0].close()
        return self._hits

    def close(self) -> None:
        """Close all."""
        for server in (*self._listening, *self._receiving, self._open):
            server.close()


@asynccontextmanager
async def arena(setup: Setup) -> AsyncIterator[Arena]:
    """Open a set-up; on leaving, assert that nothing of it is left."""
    folder = tempfile.mkdtemp(prefix="hostile-")
    os.chmod(folder, 0o777)  # whatever stops a guest, it is not this
    _make_victim(os.path.join(folder, "victim"))
    os.environ["HOSTILE_SECRET"] = CANARY
    servers = Servers(folder)
    try:
        async with await _open_manager(setup, folder, servers) as manager:
            assert manager.pool.tier == setup.tier
            here = Arena(manager, folder, servers)
            await here.prepare()
            with here.count_signals():
                yield here
                assert await here.sibling_is_whole()
            zygote = here.facts["zygote"]
        assert not _is_alive(zygote)
        assert sorted(os.listdir(folder)) == [*("cache", "dgram", "stream", "victim", "wheels")]
        assert not _zombies()
    finally:
        servers.close()
        del os.environ["HOSTILE_SECRET"]
        shutil.rmtree(folder, ignore_errors=True)


async def _open_manager(setup: Setup, folder: str, servers: Servers) -> SessionManager:
    storage = MemoryStorage()
    await stock(storage)
    installer = packages_in(Path(folder))
    config = ZygoteConfig(
        root=os.path.join(folder, "root"),
        limits=LIMITS,
        preload=PRELOAD,
        readable=(installer.readable_folder(),),
        max_landlock_abi=setup.max_landlock_abi,
        command=setup.command,
    )
    services = Services(
        storage, limits=LIMITS, installer=installer, tool_variables={"TOOL_HELD": CANARY}
    )
    egress = allowed(servers.facts) if setup.egress else None
    pool = Pool(config, min_tier="C", egress=egress, lookup=look_up)
    return SessionManager(pool=pool, services=services, limits=LIMITS)


def _make_victim(folder: str) -> None:
    """Files that their modes leave to everybody, and one that is the owner's alone."""
    os.makedirs(os.path.join(folder, "inner"))
    for name, mode in (("open", 0o666), ("private", 0o600), ("inner/file", 0o666)):
        path = os.path.join(folder, name)
        Path(path).write_text(CANARY)
        os.chmod(path, mode)
    for path in (folder, os.path.join(folder, "inner")):
        os.chmod(path, 0o777)


def _tree(folder: str) -> list[tuple[object, ...]]:
    """Return everything below the folder: kinds, modes, owners, times, attributes, content."""
    found: list[tuple[object, ...]] = []
    for path in (folder, *(str(p) for p in sorted(Path(folder).rglob("*")))):
        status = os.lstat(path)
        is_file = stat.S_ISREG(status.st_mode)
        found.append(
            (
                *(path, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns),
                *(os.listxattr(path), Path(path).read_bytes() if is_file else b""),
            )
        )
    return found


def _children(pid: int) -> set[int]:
    """Return the children of all threads of a process."""
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found |= set(
                    map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
                )
    return found


def _marked() -> set[int]:
    """Return what still runs with the attempts' mark in its command line, whoever its parent is."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(MARK) in (entry / "cmdline").read_text():
                found.add(int(entry.name))
    return found


def _mounts() -> list[str]:
    """Return the mounts of the places that matter here; container engines come and go beside."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    watched = ("/dev", "/proc", "/sys", "/tmp", "/usr", "/etc")
    points = [line.split()[4] for line in lines]
    return [
        line
        for line, point in zip(lines, points, strict=True)
        if point == "/" or any(f"{point}/".startswith(f"{each}/") for each in watched)
    ]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _zombies() -> list[int]:
    """Return the children of this process that nobody has reaped."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if not _is_alive(int(pid))]


def _memory_mb(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) // 1024
    raise LookupError(field)


def _bound(family: int, kind: int, address: str | tuple[str, int]) -> socket.socket:
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    made.bind(address)
    return made
