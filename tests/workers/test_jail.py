"""Programs run in a session's jail: its folder, its limits, and nothing left of what they start."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from py_code_mode.models import Limits, Program, ProgramEnd
from py_code_mode.workers.jail import SessionJail
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jail() -> AsyncIterator[SessionJail]:
    config = ZygoteConfig(root="/tmp/py-code-mode-test", limits=Limits(pool_size=1))
    async with Pool(config) as pool:
        worker = await pool.checkout()
        yield pool.jails.of(worker)
        pool.discard(worker)


async def sh(
    jail: SessionJail,
    script: str,
    *,
    stdin: bytes = b"",
    timeout_s: float = 10,
    max_output_bytes: int = 100_000,
    network: bool = True,
    ports: tuple[int, ...] | None = None,
) -> ProgramEnd:
    program = Program(
        ("/bin/sh", "-c", script),
        ENVIRONMENT,
        stdin,
        timeout_s,
        max_output_bytes,
        network,
        ports,
    )
    return await jail.run(program)


async def test_output_exit_code_and_input_are_those_of_the_program(jail: SessionJail) -> None:
    end = await sh(jail, "cat; echo problem >&2; exit 3", stdin=b"\x00\xff" * 200_000)
    assert (end.exit_code, end.stdout, end.truncated) == (3, b"\x00\xff" * 50_000, True) or (
        end.truncated and end.exit_code == -9
    )
    end = await sh(jail, "cat; echo problem >&2; exit 3", stdin=b"\x00\xff")
    assert end == ProgramEnd(3, b"\x00\xff", b"problem\n")


async def test_the_environment_is_what_was_given_and_the_folder(jail: SessionJail) -> None:
    end = await sh(jail, "env; pwd")
    lines = end.stdout.decode().splitlines()
    home = lines[-1]
    assert sorted(line for line in lines if "=" in line and not line.startswith("PWD=")) == sorted(
        [*(f"{k}={v}" for k, v in ENVIRONMENT.items()), f"HOME={home}", f"TMPDIR={home}"]
    )


async def test_the_folder_is_writable_and_nothing_else_is(jail: SessionJail) -> None:
    assert (await sh(jail, "echo kept > f; cat f")).stdout == b"kept\n"
    for path in ("/tmp/x", "/usr/x", "../x", "/dev/shm/x", os.path.abspath("x")):
        assert (await sh(jail, f"echo x > {path}")).exit_code != 0, path


async def test_no_file_of_the_server_or_of_other_processes_is_readable(jail: SessionJail) -> None:
    for path in (
        "/etc/passwd",
        "/etc/shadow",
        "/proc/1/environ",
        "/proc/self/environ",
        "/proc/net/tcp",
        f"/proc/{os.getpid()}/environ",
        os.path.abspath("pyproject.toml"),
        __file__,
    ):
        end = await sh(jail, f"cat {path}")
        assert (end.exit_code, end.stdout) == (1, b""), path


async def test_a_time_out_ends_everything_the_program_started(jail: SessionJail) -> None:
    marker = "sleep 3517"
    end = await sh(jail, f"{marker} & (setsid {marker} &) ; {marker}", timeout_s=0.3)
    assert (end.timed_out, end.exit_code) == (True, -9)
    assert await left_of(marker) == []


async def test_daemons_end_with_the_program_that_left_them(jail: SessionJail) -> None:
    marker = "sleep 3518"
    for escape in ("", "setsid ", "nohup ", "setsid nohup "):
        end = await sh(jail, f"({escape}{marker} >/dev/null 2>&1 &) ; echo started")
        assert end.stdout == b"started\n"
        assert await left_of(marker) == []


async def left_of(command: str) -> list[str]:
    """Return the processes of a command, once those that were killed had a moment to go."""
    for _ in range(100):
        if not running(command):
            break
        await asyncio.sleep(0.02)
    return running(command)


def running(command: str) -> list[str]:
    wanted = command.replace(" ", "\0")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if entry.name.isdigit() and state != "Z" and wanted in (entry / "cmdline").read_text():
                found.append(entry.name)
        except OSError:
            continue
    return found


async def test_a_program_cannot_kill_its_parent_or_the_worker(jail: SessionJail) -> None:
    end = await sh(jail, "kill -9 $PPID; kill -9 -1; echo survived")
    assert end.stdout == b"survived\n"
    assert (await sh(jail, "echo next")).stdout == b"next\n"


async def test_endless_output_is_cut_and_the_program_ended(jail: SessionJail) -> None:
    end = await sh(jail, "yes", max_output_bytes=10_000)
    assert (len(end.stdout), end.truncated, end.exit_code) == (10_000, True, -9)


async def test_a_program_that_is_not_there_says_so(jail: SessionJail) -> None:
    end = await jail.run(Program(("/usr/bin/nothing",), {}))
    assert (end.exit_code, end.reason) == (None, "/usr/bin/nothing: No such file or directory")


async def test_a_cancelled_call_ends_its_program(jail: SessionJail) -> None:
    task = asyncio.create_task(sh(jail, "sleep 3519"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline = time.monotonic() + 5
    while running("sleep 3519") and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert await left_of("sleep 3519") == []


async def test_programs_run_side_by_side(jail: SessionJail) -> None:
    started = time.monotonic()
    ends = await asyncio.gather(*(sh(jail, f"sleep 0.2; echo {i}") for i in range(40)))
    assert [end.stdout for end in ends] == [f"{i}\n".encode() for i in range(40)]
    assert time.monotonic() - started < 4


async def test_the_network_is_as_the_definition_says(jail: SessionJail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = (
            f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 2); print('in')\n"
            "except OSError as e: print(e.errno)"
        )

        async def attempt(network: bool, ports: tuple[int, ...] | None) -> str:
            argv = ("/usr/bin/python3", "-I", "-c", connect)
            end = await jail.run(Program(argv, ENVIRONMENT, network=network, ports=ports))
            return end.stdout.decode().strip() or end.stderr.decode()

        assert await attempt(True, None) == "in"
        assert await attempt(True, (port,)) == "in"
        assert await attempt(True, (1,)) == "13"
        assert await attempt(False, None) == "97"


async def test_a_jail_that_dies_is_started_again(jail: SessionJail) -> None:
    assert jail.process is not None
    jail.process.kill()
    await asyncio.sleep(0.3)
    assert (await sh(jail, "echo back")).stdout == b"back\n"
