"""The launcher: root given up, zygotes with uids of their own all the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

PATIENCE_S = 20.0
pytestmark = pytest.mark.root

#: Run as a program of its own: what gives up root cannot take it back.
BEFORE = """
import asyncio, json, os, signal, sys
from pathlib import Path
from py_code_mode.models import Limits
from py_code_mode.workers.launcher import give_up_root
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig

UID = 12345
secret = os.memfd_create("settings")
os.write(secret, b"a secret")
os.set_inheritable(secret, True)
launcher = give_up_root(UID, secret=secret)
children = Path(f"/proc/self/task/{os.getpid()}/children")

def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1].split() for line in lines}

def pool():
    folder = f"/tmp/py-code-mode-test-{os.getpid()}"
    config = ZygoteConfig(root=folder, limits=Limits(pool_size=1), launcher=launcher)
    return Pool(config, min_tier="D")
"""


def run(script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_host_keeps_nothing_of_root() -> None:
    told = run("""
me = status(os.getpid())
try:
    os.setuid(0)
except PermissionError:
    back = False
print(json.dumps([me["Uid"], me["Groups"], me["CapPrm"], me["CapEff"], me["NoNewPrivs"], back]))
""")
    assert told == [["12345"] * 4, [], ["0" * 16], ["0" * 16], ["1"], False]


def test_the_launcher_keeps_what_a_zygote_needs_and_never_had_the_secret() -> None:
    told = run("""
pid = int(children.read_text())
it = status(pid)
print(json.dumps([it["Uid"], it["CapEff"], it["CapBnd"], it["NoNewPrivs"]]))
""")
    assert told[0] == ["0"] * 4
    # CHOWN, KILL, SETGID, SETUID and SETPCAP at most; a container may have none of the last.
    assert int(told[1][0], 16) & ~0x1E1 == 0
    assert told[3] == ["1"]


def test_sessions_have_uids_of_their_own() -> None:
    told = run("""
async def main():
    async with pool() as one:
        workers = [await one.checkout() for _ in range(2)]
        uids = [status(worker.pid)["Uid"][0] for worker in workers]
        return [one.tier, len(set(uids)), all(int(uid) > 200_000_000 for uid in uids)]
print(json.dumps(asyncio.run(main())))
""")
    assert told[0] in ("A", "C")
    assert told[1:] == [2, True]


def test_another_zygote_takes_over_from_one_that_was_killed() -> None:
    told = run("""
async def main():
    async with pool() as one:
        first = one._zygote
        first._process.kill()
        while first.alive or Path(f"/proc/{first.pid}").exists():  # buried, and not when asked next
            await asyncio.sleep(0.01)
        worker = await one.checkout()
        while not worker.alive:  # one that waited, and has gone with its zygote
            worker = await one.checkout()
        second = one._zygote
        return [first.pid != second.pid, one.tier]
print(json.dumps(asyncio.run(main())))
""")
    assert told[0] is True
    assert told[1] in ("A", "C")


def test_nothing_is_left_when_the_host_is_killed() -> None:
    host = subprocess.Popen(
        [
            sys.executable,
            "-c",
            BEFORE
            + """
async def main():
    async with pool() as one:
        worker = await one.checkout()
        print(json.dumps([int(children.read_text()), one._zygote.pid, worker.pid]), flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
""",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert host.stdout is not None
    pids = json.loads(host.stdout.readline())
    host.kill()
    host.wait()
    host.stdout.close()
    for pid in pids:
        _await_end(pid)


def test_without_the_right_to_change_uids_root_stays_without_a_launcher() -> None:
    command = ["setpriv", "--bounding-set=-setuid,-setgid", sys.executable, "-c"]
    script = BEFORE + "print(json.dumps([launcher is None, os.getuid(), children.read_text()]))"
    done = subprocess.run([*command, script], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == [True, 0, ""], done.stderr


def _await_end(pid: int) -> None:
    """Wait until the process is gone, or is one that only its new parent has yet to bury."""
    deadline = time.monotonic() + PATIENCE_S
    while _alive(pid):
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
