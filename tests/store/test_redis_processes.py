"""Several processes on one Redis: creators that race, writers and servers that are killed."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time

import pytest

from py_code_mode.errors import StorageUnavailableError
from py_code_mode.store.redis import RedisStorage
from redis_server import RedisSource

from .redis_storages import Open

CREATORS = """
import asyncio, sys, time
from py_code_mode.errors import SkillExistsError
from py_code_mode.store.redis import RedisStorage

async def main():
    storage = RedisStorage(sys.argv[1], prefix=sys.argv[2])
    await storage.check()
    await asyncio.sleep(float(sys.argv[3]) - time.time())
    answers = await asyncio.gather(
        *(storage.skills.add("f", f"a = {n}", author=sys.argv[4]) for n in range(25)),
        return_exceptions=True)
    print(sum(not isinstance(answer, Exception) for answer in answers),
          sum(isinstance(answer, SkillExistsError) for answer in answers))
    await storage.aclose()

asyncio.run(main())
"""

WRITER = """
import asyncio, itertools, sys
from py_code_mode.store.redis import RedisStorage

async def main():
    storage = RedisStorage(sys.argv[1], prefix=sys.argv[2])
    for n in itertools.count(int(sys.argv[3])):
        body = str(n).encode() * (1 + n % 7 * 9000)
        await storage.artifacts.add("x/y", body, description=f"{n} {len(body)}")
        await storage.skills.add("f", f"a = {n}", description=str(n), origin="agent",
                                 overwrite=True)
        print(n, flush=True)

asyncio.run(main())
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


async def assert_whole(storage: RedisStorage) -> int:
    """Assert that what is stored belongs together; return its number."""
    saved, body = await storage.artifacts.read("x/y")
    number, length = saved.description.split()
    assert (saved.size, len(body)) == (int(length), int(length))
    assert body == number.encode() * (1 + int(number) % 7 * 9000)
    skill = await storage.skills.get("f")
    assert (skill.source, skill.origin) == (f"a = {skill.description}", "agent")
    return int(number)


async def test_of_a_hundred_creators_in_four_processes_one_wins(
    shared_redis_url: str, redis_prefix: str, redis_storage: RedisStorage
) -> None:
    begin = time.time() + 1.5
    processes = [start(CREATORS, shared_redis_url, redis_prefix, begin, who) for who in "wxyz"]
    answers = [await asyncio.to_thread(process.communicate) for process in processes]
    wins = [tuple(map(int, out.split())) for out, _ in answers]
    assert sorted(wins) == [(0, 25), (0, 25), (0, 25), (1, 24)]
    winner = await redis_storage.skills.get("f")
    assert (winner.version, winner.author) == (1, "wxyz"[wins.index((1, 24))])


async def test_a_writer_killed_at_any_moment_leaves_whole_values(
    shared_redis_url: str, redis_prefix: str, redis_storage: RedisStorage
) -> None:
    dice = random.Random(7)
    number = 0
    for _ in range(6):
        process = start(WRITER, shared_redis_url, redis_prefix, number)
        assert process.stdout is not None
        acknowledged = int(await asyncio.to_thread(process.stdout.readline))
        end = time.monotonic() + dice.uniform(0.005, 0.05)
        while time.monotonic() < end:
            await assert_whole(redis_storage)
        process.send_signal(signal.SIGKILL)
        rest, _ = await asyncio.to_thread(process.communicate)
        lines = rest.split("\n")[:-1]
        acknowledged = int(lines[-1]) if lines else acknowledged
        number = await assert_whole(redis_storage)
        assert number >= acknowledged
        number += 1


async def test_a_redis_killed_in_the_middle_of_saves_comes_back_whole(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start("--appendonly", "yes", "--appendfsync", "always")
    storage = open_storage(server.url, store_timeout_s=1.0)
    saved = -1

    async def write() -> None:
        nonlocal saved
        for number in range(saved + 1, 1_000_000):
            body = str(number).encode() * (1 + number % 7 * 9000)
            await storage.artifacts.add("x/y", body, description=f"{number} {len(body)}")
            await storage.skills.add(
                "f", f"a = {number}", description=str(number), origin="agent", overwrite=True
            )
            saved = number

    for pause in [0.15, 0.22, 0.31]:
        writing = asyncio.create_task(write())
        await asyncio.sleep(pause)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        with pytest.raises(StorageUnavailableError):
            await writing
        await asyncio.to_thread(server.start)
        assert await assert_whole(storage) >= saved >= 0
