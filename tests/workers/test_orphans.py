"""What ended sessions leave behind, where the host is process 1 and so everybody's last parent."""

from __future__ import annotations

import json
import subprocess
import sys

#: The host adopts orphans as process 1 does, and buries none itself.
SCRIPT = '''
import asyncio, json, os, time
from py_code_mode import Session
from py_code_mode.store.memory import MemoryStorage
from py_code_mode_guest import lockdown

TOOL = """
name: echo
description: Print a text
command: echo
schema: {positional: [{name: text, type: string, description: What is printed}]}
"""
lockdown.adopt_orphans()

async def main():
    return {"sessions": await ended_sessions(), "zygote": await an_ended_zygote()}

async def an_ended_zygote():
    """It is asked to end while programs of tools run, and is waited for."""
    storage = MemoryStorage()
    await storage.tools.add("sleep", TOOL.replace("echo", "sleep"))
    async with Session(storage) as session:
        code = "import asyncio\\nawait asyncio.gather(*[tools.sleep.call_async(text='60') for _ in range(8)])"
        running = asyncio.create_task(session.run(code))
        await asyncio.sleep(1)
    await asyncio.gather(running, return_exceptions=True)
    return zombies()

async def ended_sessions():
    storage = MemoryStorage()
    await storage.tools.add("echo", TOOL)
    async with Session(storage) as session:
        for _ in range(3):
            said = await session.run("tools.echo(text='there')")
            assert said.is_ok, said
            assert (await session.run("import os; os._exit(3)")).error_type == "WorkerCrashed"
        deadline = time.monotonic() + 10
        while zombies() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return zombies()

def zombies():
    found = []
    for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split():
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                found.append(int(pid))
    return found

print(json.dumps(asyncio.run(main())))
'''


def test_no_zombie_is_left_to_process_1() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"sessions": [], "zygote": []}
