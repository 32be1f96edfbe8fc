"""Several processes on one folder: creators that race, writers that are killed."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from py_code_mode.store.file import FileStorage

CREATORS = """
import asyncio, sys, time
from py_code_mode.errors import SkillExistsError
from py_code_mode.store.file import FileStorage

async def main():
    skills = FileStorage(sys.argv[1]).skills
    await asyncio.sleep(float(sys.argv[2]) - time.time())
    answers = await asyncio.gather(
        *(skills.add("f", f"a = {n}", author=sys.argv[3]) for n in range(25)),
        return_exceptions=True)
    print(sum(not isinstance(answer, Exception) for answer in answers),
          sum(isinstance(answer, SkillExistsError) for answer in answers))

asyncio.run(main())
"""

WRITER = """
import asyncio, itertools, sys
from py_code_mode.store.file import FileStorage

async def main():
    storage = FileStorage(sys.argv[1])
    for n in itertools.count(int(sys.argv[2])):
        body = str(n).encode() * (1 + n % 7 * 400)
        await storage.artifacts.add("x/y", body, description=f"{n} {len(body)}")
        await storage.skills.add("f", f"a = {n}", description=str(n), origin="agent",
                                 overwrite=True)
        print(n, flush=True)

asyncio.run(main())
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


async def assert_whole(storage: FileStorage) -> int:
    """Assert that what is stored belongs together; return its number."""
    saved, body = await storage.artifacts.read("x/y")
    number, length = saved.description.split()
    assert (saved.size, len(body)) == (int(length), int(length))
    assert body == number.encode() * (1 + int(number) % 7 * 400)
    skill = await storage.skills.get("f")
    assert (skill.source, skill.origin) == (f"a = {skill.description}", "agent")
    return int(number)


async def test_of_a_hundred_creators_in_four_processes_one_wins(base: Path) -> None:
    begin = time.time() + 1.0
    processes = [start(CREATORS, base, begin, author) for author in "wxyz"]
    answers = [await asyncio.to_thread(process.communicate) for process in processes]
    wins = [tuple(map(int, out.split())) for out, _ in answers]
    assert sorted(wins) == [(0, 25), (0, 25), (0, 25), (1, 24)]
    winner = await FileStorage(base).skills.get("f")
    assert (winner.version, winner.author) == (1, "wxyz"[wins.index((1, 24))])


async def test_a_writer_killed_at_any_moment_leaves_whole_values(base: Path) -> None:
    storage = FileStorage(base)
    dice = random.Random(7)
    number = 0
    for _ in range(12):
        process = start(WRITER, base, number)
        assert process.stdout is not None
        acknowledged = int(await asyncio.to_thread(process.stdout.readline))
        end = time.monotonic() + dice.uniform(0.005, 0.05)
        while time.monotonic() < end:
            await assert_whole(storage)
        process.send_signal(signal.SIGKILL)
        rest, _ = await asyncio.to_thread(process.communicate)
        lines = rest.split("\n")[:-1]
        acknowledged = int(lines[-1]) if lines else acknowledged
        number = await assert_whole(storage)
        assert number >= acknowledged
        await storage.skills.add(
            "f", f"a = {number}", description=str(number), origin="agent", overwrite=True
        )
        number += 1
