"""What the kernel really enforces: children lock themselves down, try things and report.

Run as a script, this file plays the zygote: it forks one worker, which locks itself down in the
order of the product and runs one probe, a function named ``probe_*`` below.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import importlib
import json
import mmap
import os
import resource
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from py_code_mode_guest import lockdown
from py_code_mode_guest.syscalls import call, libc

KERNEL_ABI = lockdown.landlock_abi()
UID = 61234
PYTHON_TREES = [*{sys.prefix, sys.base_prefix, "/usr"}, "/lib", "/lib64", "/etc/ssl"]
DEVICES = ["/dev/null", "/dev/urandom"]


@dataclass(frozen=True)
class Setup:
    """How a worker is confined; ``abi`` 0 leaves Landlock out."""

    area: str
    abi: int = KERNEL_ABI
    uid: int | None = None
    filtered: bool = True


# ---------------------------------------------------------------- the child's side


def play_zygote(probe: str, setup: Setup) -> None:
    """Fork one worker; print what it reported and how it ended."""
    tree = os.path.join(setup.area, "tree")
    hidden = [os.path.join(tree, "pkg_hidden")]
    rules = lockdown.ReadRules.open([*PYTHON_TREES, *DEVICES, tree], hidden=hidden)
    program = lockdown.compile_filter(own_uid=setup.uid is not None, truncate=setup.abi >= 3)
    reader, writer = os.pipe()
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            lock_down(setup, rules, program, zygote, writer)
            report: Any = {"result": PROBES[probe]()}
        except BaseException as error:
            report = {"failed": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(report).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        report = json.loads(pipe.read() or b"{}")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.stdout.write(json.dumps({**report, "status": status}))


def lock_down(
    setup: Setup,
    rules: lockdown.ReadRules,
    program: lockdown.FilterProgram,
    zygote: int,
    writer: int,
) -> None:
    os.setsid()
    if setup.uid is not None:
        lockdown.drop_bounding_set()
        lockdown.become(setup.uid, setup.uid)
    work = os.open(os.path.join(setup.area, "work"), os.O_RDONLY | os.O_DIRECTORY)
    os.fchdir(work)
    tempfile.tempdir = os.getcwd()
    lockdown.drop_capabilities()
    lockdown.set_dumpable(dumpable=False)
    lockdown.die_with_parent(zygote)
    lockdown.no_new_privileges()
    if setup.abi:
        lockdown.restrict_files(rules, [work], abi=setup.abi)
    lockdown.close_all_fds_but([0, 1, 2, writer])
    if setup.filtered:
        lockdown.install_filter(program, os.getpid())


def attempt(action: Callable[[], object]) -> str:
    """Say "ok" or the name of the error."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno] if error.errno else type(error).__name__
    except Exception as error:
        return type(error).__name__
    return "ok"


def attempts(**actions: Callable[[], object]) -> dict[str, str]:
    return {name: attempt(action) for name, action in actions.items()}


def must_not_fail(result: int) -> None:
    """Raise what a C function that returned -1 meant."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: str, text: str = "new") -> None:
    with open(path, "w") as file:
        file.write(text)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def probe_files() -> dict[str, str]:
    os.makedirs("made/deeper")
    write("own.txt", "0123456789")
    os.symlink("../outside/secret.txt", "escape")
    return attempts(
        read_tree=lambda: read("../tree/open.txt"),
        list_tree=lambda: os.listdir("../tree"),
        read_sibling_of_hidden=lambda: read("../tree/pkg_open/__init__.py"),
        read_link_of_tree=lambda: read("../tree/link"),
        write_null=lambda: write("/dev/null"),
        read_hidden=lambda: read("../tree/pkg_hidden/__init__.py"),
        read_hidden_by_link=lambda: read("../tree/link_to_hidden/__init__.py"),
        read_outside_by_link=lambda: read("../tree/up/outside/secret.txt"),
        read_outside=lambda: read("../outside/secret.txt"),
        read_outside_by_own_link=lambda: read("escape"),
        list_outside=lambda: os.listdir("../outside"),
        read_environment=lambda: read("/proc/self/environ"),
        write_tree=lambda: write("../tree/open.txt"),
        create_in_tree=lambda: write("../tree/new.txt"),
        write_outside=lambda: write("../outside/world.txt"),
        remove_outside=lambda: os.unlink("../outside/world.txt"),
        move_out=lambda: os.rename("own.txt", "../outside/own.txt"),
        move_in=lambda: os.rename("../outside/world.txt", "world.txt"),
        write_own=lambda: write("made/file.txt"),
        append_own=lambda: os.close(os.open("own.txt", os.O_WRONLY | os.O_APPEND)),
        rename_own=lambda: os.rename("made/file.txt", "made/renamed.txt"),
        move_own=lambda: os.rename("made/renamed.txt", "made/deeper/moved.txt"),
        remove_own=lambda: shutil.rmtree("made"),
    )


def expected_files(abi: int) -> dict[str, str]:
    denied = dict.fromkeys(
        [
            "read_hidden",
            "read_hidden_by_link",
            "read_outside_by_link",
            "read_outside",
            "read_outside_by_own_link",
            "list_outside",
            "read_environment",
            "write_tree",
            "create_in_tree",
            "write_outside",
            "remove_outside",
        ],
        "EACCES",
    )
    denied |= {"move_out": "EACCES", "move_in": "EACCES"}
    # Without REFER (ABI 1) another directory is like another file system, which shutil.move minds.
    return denied | ({"move_own": "EXDEV"} if abi == 1 else {})


def probe_truncation() -> dict[str, str]:
    write("own.txt", "0123456789")

    def shrink_by_descriptor() -> None:
        fd = os.open("own.txt", os.O_RDWR)
        os.ftruncate(fd, 3)
        os.close(fd)

    outside = "../outside/world.txt"
    return attempts(
        by_descriptor=shrink_by_descriptor,
        own=lambda: os.truncate("own.txt", 1),
        outside=lambda: os.truncate(outside, 0),
        outside_read_only=lambda: os.open(outside, os.O_RDONLY | os.O_TRUNC),
        outside_no_access_mode=lambda: os.open(outside, 3 | os.O_TRUNC),
        tree_read_only=lambda: os.open("../tree/open.txt", os.O_RDONLY | os.O_TRUNC),
        tree_no_access_mode=lambda: os.open("../tree/open.txt", 3 | os.O_TRUNC),
    )


def probe_special_files() -> dict[str, str]:
    write("program", "#!/bin/sh\n")

    def bind() -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")

    return attempts(
        hard_link=lambda: os.link("program", "link"),
        fifo=lambda: os.mkfifo("fifo"),
        device=lambda: os.mknod("device", 0o20600, os.makedev(1, 3)),
        unix_socket=bind,
        execute_own=lambda: os.execv("program", ["program"]),
        execute_system=lambda: os.execv("/bin/true", ["true"]),
    )


def probe_metadata() -> dict[str, str]:
    write("own.txt")
    os.chmod("own.txt", 0o600)
    results = attempts(
        chmod_own=lambda: os.chmod("own.txt", 0o640),
        utime_own=lambda: os.utime("own.txt", (1, 1)),
        chmod_tree=lambda: os.chmod("../tree/open.txt", 0o666),
        chown_tree=lambda: os.chown("../tree/open.txt", os.getuid(), os.getgid()),
        utime_tree=lambda: os.utime("../tree/open.txt", (1, 1)),
        set_xattr=lambda: os.setxattr("own.txt", "user.name", b"value"),
        list_xattr=lambda: os.listxattr("own.txt"),
    )
    own = os.stat("own.txt")
    return results | {"own": f"{own.st_mode & 0o777:o} {int(own.st_mtime == 1)}"}


def probe_imports() -> dict[str, str]:
    sys.path.append(os.path.abspath("../tree"))
    names = ("pkg_open", "single", "pkg_hidden")
    return attempts(**{name: partial(importlib.import_module, name) for name in names})


def probe_processes() -> dict[str, str]:
    start = os.posix_spawn
    return attempts(
        fork=os.fork,
        subprocess=lambda: subprocess.run(["/bin/true"], check=True),
        posix_spawn=lambda: start("/bin/true", ["true"], {}),
        execute=lambda: os.execv("/bin/true", ["true"]),
        clone3=lambda: must_not_fail(call("clone3", 0, 0)),
        ptrace=lambda: must_not_fail(libc().ptrace(0, 0, 0, 0)),
        unshare=lambda: must_not_fail(libc().unshare(0x10000000)),
        personality=lambda: must_not_fail(libc().personality(0xFFFFFFFF)),
        memfd=lambda: os.memfd_create("name"),
        pidfd=lambda: os.pidfd_open(os.getpid()),
        nice=lambda: os.nice(1),
        affinity=lambda: os.sched_setaffinity(0, {0}),
        get_limit=lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        set_limit=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        limit_of_parent=lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU),
        new_session=os.setsid,
        uid=lambda: os.setresuid(0, 0, 0),
        dumpable=lambda: lockdown.set_dumpable(dumpable=True),
        filter_again=lambda: must_not_fail(call("seccomp", 1, 0, 0)),
    )


def probe_signals() -> dict[str, str]:
    seen: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    here = threading.get_ident()
    results = attempts(
        itself=lambda: os.kill(os.getpid(), signal.SIGUSR1),
        own_thread=lambda: signal.pthread_kill(here, signal.SIGUSR1),
        raise_signal=lambda: signal.raise_signal(signal.SIGUSR1),
        timer=lambda: (signal.setitimer(signal.ITIMER_REAL, 30), signal.alarm(0)),
        parent=lambda: os.kill(os.getppid(), 0),
        init=lambda: os.kill(1, 0),
        own_group=lambda: os.kill(0, 0),
        everybody=lambda: os.kill(-1, 0),
        own_group_by_number=lambda: os.killpg(os.getpgrp(), 0),
        group_of_parent=lambda: os.killpg(os.getpgid(os.getppid()), 0),
    )
    return results | {"received": str(len(seen))}


def probe_sockets() -> dict[str, str]:
    left, right = socket.socketpair()
    results = attempts(
        send=lambda: left.sendall(b"x"),
        send_message=lambda: left.sendmsg([b"x"]),
        receive=lambda: right.recv(1),
        keep_alive=lambda: left.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        tcp=socket.socket,
        udp=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        unix=lambda: socket.socket(socket.AF_UNIX),
        netlink=lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        datagram_pair=lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        send_to=lambda: left.sendto(b"x", "/run/any"),
        fast_open=lambda: left.send(b"x", socket.MSG_FASTOPEN),
        bind=lambda: left.bind("\0abstract"),
        listen=left.listen,
        bpf=lambda: left.setsockopt(socket.SOL_SOCKET, 26, bytes(16)),
        owner=lambda: fcntl.fcntl(left, fcntl.F_SETOWN, os.getppid()),
        type_ahead=lambda: fcntl.ioctl(0, 0x5412, b"x"),
    )
    left.close()
    right.close()
    return results


def probe_threads() -> int:
    total: list[int] = []
    threads = [threading.Thread(target=total.append, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(total)


def use_sqlite() -> None:
    with contextlib.closing(sqlite3.connect("data.db")) as connection:
        assert connection.execute("pragma journal_mode=wal").fetchone() == ("wal",)
        connection.execute("create table t (a)")
        connection.execute("insert into t values (1)")
        connection.commit()


def use_archives() -> None:
    write("member.txt")
    with zipfile.ZipFile("archive.zip", "w") as archive:
        archive.write("member.txt")
    shutil.unpack_archive("archive.zip", "unpacked")
    shutil.copytree("unpacked", "copied")
    shutil.move("copied", "unpacked/moved")


def use_temporary_files() -> None:
    with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
        file.write(b"x")
        write(os.path.join(folder, "file"))


def use_asyncio() -> None:
    async def main() -> None:
        await asyncio.gather(asyncio.sleep(0.001), asyncio.to_thread(time.sleep, 0.001))

    asyncio.run(main())


def use_events() -> None:
    event = os.eventfd(1)
    with select.epoll() as epoll:
        epoll.register(event, select.EPOLLIN)
        assert epoll.poll(1)
    os.close(event)


def use_libraries() -> None:
    """Load C extensions and shared libraries after the lockdown, and their threads."""
    import decimal  # noqa: F401, PLC0415
    import lzma  # noqa: F401, PLC0415
    import ssl  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    ssl.create_default_context()
    product = np.ones((300, 300)) @ np.ones((300, 300))
    assert product[0, 0] == 300
    frame = pd.DataFrame({"a": [1, 2, 3]})
    frame.to_csv("frame.csv")
    assert pd.read_csv("frame.csv")["a"].sum() == 6


def probe_ordinary_work() -> dict[str, str]:
    return attempts(
        sqlite=use_sqlite,
        archives=use_archives,
        temporary_files=use_temporary_files,
        asyncio=use_asyncio,
        events=use_events,
        libraries=use_libraries,
        zoneinfo=lambda: ZoneInfo("Europe/Berlin"),
        random=lambda: os.urandom(8),
        processors=lambda: (os.cpu_count() or 0) / len(os.sched_getaffinity(0)),
        volume=lambda: os.statvfs("."),
        scan=lambda: list(os.scandir(".")),
        terminal=shutil.get_terminal_size,
        sleep=lambda: time.sleep(0.001),
    )


def probe_landlock_alone() -> dict[str, str]:
    """What is left when the filter is not there."""

    def connect() -> None:
        with socket.socket() as client:
            client.connect(("127.0.0.1", 9))

    return probe_special_files() | attempts(
        tcp=connect,
        signal_parent=lambda: os.kill(os.getppid(), 0),
        truncate_outside=lambda: os.truncate("../outside/world.txt", 0),
        truncate_readable=lambda: os.open("../tree/open.txt", os.O_RDONLY | os.O_TRUNC),
        truncate_without_mode=lambda: os.open("../outside/world.txt", 3 | os.O_TRUNC),
    )


def probe_status() -> dict[str, str]:
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Uid", "Gid", "Groups", "NoNewPrivs")
    fields = (line.split(":", 1) for line in read(f"/proc/{os.getpid()}/status").splitlines())
    status = {name: " ".join(value.split()) for name, value in fields if name in names}
    return status | {"dumpable": str(libc().prctl(3, 0, 0, 0, 0))}


def probe_descriptors() -> list[int]:
    return [fd for fd in range(200) if attempt(partial(os.fstat, fd)) == "ok"]


def probe_other_abis() -> dict[str, str]:
    """Ask for getpid by its x32 number, then by i386's `int 0x80`, which must not return."""
    x32 = libc().syscall(0x40000000 | 39, 0, 0, 0, 0, 0, 0)
    assert x32 == -1
    assert ctypes.get_errno() == errno.ENOSYS
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return {"pid": str(ctypes.CFUNCTYPE(ctypes.c_int)(address)())}


PROBES: dict[str, Callable[[], Any]] = {
    name.removeprefix("probe_"): function
    for name, function in list(globals().items())
    if name.startswith("probe_")
}


# ---------------------------------------------------------------- the tests' side


def require_landlock(abi: int = 1) -> None:
    if abi > KERNEL_ABI and os.environ.get("CI"):
        pytest.fail(f"CI promises Landlock ABI {abi}; this kernel has {KERNEL_ABI}")
    if abi > KERNEL_ABI:
        pytest.skip(f"needs Landlock ABI {abi}; this kernel has {KERNEL_ABI}")


@pytest.fixture
def area() -> Iterator[Path]:
    """A folder of the worker, a readable tree with a hidden package, and a place outside."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        area = Path(name)
        area.chmod(0o755)
        for folder in ("work", "tree/pkg_open", "tree/pkg_hidden", "outside", "elsewhere"):
            (area / folder).mkdir(parents=True)
        (area / "tree/open.txt").write_text("open")
        (area / "tree/single.py").write_text("VALUE = 1\n")
        (area / "tree/pkg_open/__init__.py").write_text("VALUE = 2\n")
        (area / "tree/pkg_hidden/__init__.py").write_text("VALUE = 3\n")
        (area / "elsewhere/linked.txt").write_text("linked")
        (area / "tree/link").symlink_to("../elsewhere/linked.txt")
        (area / "tree/link_to_hidden").symlink_to("pkg_hidden")
        (area / "tree/up").symlink_to("..")
        (area / "outside/secret.txt").write_text("secret")
        (area / "outside/world.txt").write_text("world")
        (area / "outside").chmod(0o777)
        (area / "outside/world.txt").chmod(0o666)
        yield area


def run(probe: str, setup: Setup) -> Any:
    """Return what the probe found out in a worker confined this way."""
    if setup.uid is not None:
        os.chown(os.path.join(setup.area, "work"), setup.uid, setup.uid)
    report = outcome(probe, setup)
    assert report.get("failed") is None, report
    assert report["status"] == 0
    return report["result"]


def outcome(probe: str, setup: Setup) -> dict[str, Any]:
    command = [sys.executable, __file__, probe, json.dumps(asdict(setup))]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=50, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def all_but(results: dict[str, str], exceptions: dict[str, str]) -> dict[str, str]:
    """Return what the results must be: "ok", but for the exceptions."""
    return dict.fromkeys(results, "ok") | exceptions


either_uid = pytest.mark.parametrize("uid", [None, pytest.param(UID, marks=pytest.mark.root)])
every_abi = pytest.mark.parametrize("abi", sorted({1, 3, max(KERNEL_ABI, 3)}))


@either_uid
@every_abi
def test_a_worker_reads_its_trees_and_writes_its_folder_alone(
    area: Path, abi: int, uid: int | None
) -> None:
    require_landlock(abi)
    results = run("files", Setup(str(area), abi=abi, uid=uid))
    assert results == all_but(results, expected_files(abi))
    assert (area / "outside/world.txt").read_text() == "world"
    assert (area / "tree/open.txt").read_text() == "open"


@every_abi
def test_nothing_outside_can_be_truncated(area: Path, abi: int) -> None:
    require_landlock(abi)
    results = run("truncation", Setup(str(area), abi=abi))
    by_path = "ok" if abi >= 3 else "EPERM"
    assert results == {
        "by_descriptor": "ok",
        "own": by_path,
        "outside": "EACCES" if abi >= 3 else "EPERM",
        "outside_read_only": "EPERM",
        "outside_no_access_mode": "EPERM",
        "tree_read_only": "EPERM",
        "tree_no_access_mode": "EPERM",
    }
    assert (area / "outside/world.txt").read_text() == "world"
    assert (area / "tree/open.txt").read_text() == "open"


def test_hidden_packages_cannot_be_imported_but_their_siblings_can(area: Path) -> None:
    require_landlock()
    assert run("imports", Setup(str(area))) == {
        "pkg_open": "ok",
        "single": "ok",
        "pkg_hidden": "EACCES",
    }


@either_uid
def test_no_links_sockets_devices_or_programs_come_out_of_a_folder(
    area: Path, uid: int | None
) -> None:
    results = run("special_files", Setup(str(area), uid=uid))
    assert results == dict.fromkeys(results, "EPERM")


def test_landlock_alone_refuses_what_the_filter_refuses_first(area: Path) -> None:
    require_landlock(6)
    assert run("landlock_alone", Setup(str(area), filtered=False)) == {
        "hard_link": "ok",
        "fifo": "EACCES",
        "device": "EACCES",
        "unix_socket": "EACCES",
        "execute_own": "EACCES",
        "execute_system": "EACCES",
        "tcp": "EACCES",
        "signal_parent": "EPERM",
        "truncate_outside": "EACCES",
        "truncate_readable": "EACCES",
        "truncate_without_mode": "EACCES",
    }


def test_the_first_landlock_alone_would_let_files_be_truncated(area: Path) -> None:
    require_landlock()
    results = run("landlock_alone", Setup(str(area), abi=1, filtered=False))
    truncated = {name: result for name, result in results.items() if name.startswith("truncate")}
    assert truncated == dict.fromkeys(truncated, "ok")


@pytest.mark.root
def test_with_an_own_uid_metadata_is_really_changed_and_only_ones_own(area: Path) -> None:
    assert run("metadata", Setup(str(area), uid=UID)) == {
        "chmod_own": "ok",
        "utime_own": "ok",
        "chmod_tree": "EPERM",
        "chown_tree": "EPERM",
        "utime_tree": "EPERM",
        "set_xattr": "ENOTSUP",
        "list_xattr": "ENOTSUP",
        "own": "640 1",
    }


def test_without_an_own_uid_changes_of_metadata_are_pretended(area: Path) -> None:
    before = (area / "tree/open.txt").stat()
    results = run("metadata", Setup(str(area)))
    mode = 0o666 & ~_umask()
    expected = all_but(results, {"set_xattr": "ENOTSUP", "list_xattr": "ENOTSUP"})
    assert results == expected | {"own": f"{mode:o} 0"}
    assert (area / "tree/open.txt").stat() == before


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@either_uid
def test_no_process_is_started_or_changed(area: Path, uid: int | None) -> None:
    results = run("processes", Setup(str(area), uid=uid))
    denied = dict.fromkeys(results, "EPERM")
    assert results == denied | {
        "clone3": "ENOSYS",
        "get_limit": "ok",
        "set_limit": "ValueError",  # how the resource module says EPERM
        "dumpable": "LockdownError",
    }


@pytest.mark.parametrize("abi", [0, KERNEL_ABI])
def test_a_worker_signals_itself_alone(area: Path, abi: int) -> None:
    results = run("signals", Setup(str(area), abi=abi))
    denied = (
        "parent",
        "init",
        "own_group",
        "everybody",
        "own_group_by_number",
        "group_of_parent",
    )
    assert results == all_but(results, dict.fromkeys(denied, "EPERM")) | {"received": "3"}


@pytest.mark.parametrize("abi", [0, KERNEL_ABI])
def test_stream_pairs_are_the_only_sockets(area: Path, abi: int) -> None:
    results = run("sockets", Setup(str(area), abi=abi))
    allowed = ("send", "send_message", "receive", "keep_alive")
    assert results == dict.fromkeys(results, "EPERM") | dict.fromkeys(allowed, "ok")


@either_uid
def test_threads_start(area: Path, uid: int | None) -> None:
    assert run("threads", Setup(str(area), uid=uid)) == 20


@either_uid
@every_abi
def test_ordinary_work_goes_on(area: Path, abi: int, uid: int | None) -> None:
    require_landlock(abi)
    results = run("ordinary_work", Setup(str(area), abi=abi, uid=uid))
    assert results == dict.fromkeys(results, "ok")


@pytest.mark.root
def test_a_worker_with_an_own_uid_keeps_no_privilege(area: Path) -> None:
    none = "0" * 16
    assert run("status", Setup(str(area), abi=0, uid=UID, filtered=False)) == {
        "Uid": f"{UID} {UID} {UID} {UID}",
        "Gid": f"{UID} {UID} {UID} {UID}",
        "Groups": "",
        "CapInh": none,
        "CapPrm": none,
        "CapEff": none,
        "CapBnd": none,
        "CapAmb": none,
        "NoNewPrivs": "1",
        "dumpable": "0",
    }


def test_only_the_named_descriptors_stay_open(area: Path) -> None:
    descriptors = run("descriptors", Setup(str(area)))
    assert descriptors[:3] == [0, 1, 2]
    assert len(descriptors) == 4  # and the pipe of the report


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 and i386 are x86_64's")
def test_the_processors_other_system_call_abis_are_closed(area: Path) -> None:
    report = outcome("other_abis", Setup(str(area)))
    # Kernels without i386 support have no `int 0x80` at all.
    assert report in ({"status": -signal.SIGSYS}, {"status": -signal.SIGSEGV})


if __name__ == "__main__":
    play_zygote(sys.argv[1], Setup(**json.loads(sys.argv[2])))
