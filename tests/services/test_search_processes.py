"""Several processes search one store: vectors are made once, and nobody sees what is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis import RedisStorage

TESTS = Path(__file__).parent.parent

OPEN = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[1])
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis import RedisStorage
from services.embedders import CountingEmbedder

def opened():
    if sys.argv[2].startswith("/"):
        return FileStorage(sys.argv[2])
    return RedisStorage(sys.argv[2], prefix=sys.argv[3])
"""

SEARCHER = (
    OPEN
    + """
async def main():
    store = opened()
    embedder = CountingEmbedder(log=sys.argv[4])
    embedder.pause_s = 0.02
    services = Services(store, limits=Limits(), embedder=embedder)
    print("ready", flush=True)
    sys.stdin.readline()
    found = await services.agent.call("skills", "search", ["number 77"], {"limit": 1})
    print(found[0].name, flush=True)
    await store.aclose()

asyncio.run(main())
"""
)

CHANGER = (
    OPEN
    + """
async def main():
    store = opened()
    services = Services(store, limits=Limits())
    source = '\"\"\"Convert %s into gold.\"\"\"\\ndef run(): ...\\n'
    for line in sys.stdin:
        order, name = line.split()
        if order == "create":
            arguments = [name, source % name]
        else:
            arguments = [name]
        await services.api.call("skills", order, arguments, {})
        print("done", flush=True)
    await store.aclose()

asyncio.run(main())
"""
)


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    if request.param == "file":
        return str(tmp_path / "store"), ""
    url: str = request.getfixturevalue("shared_redis_url")
    return url, request.getfixturevalue("redis_prefix")


@pytest.fixture
async def store(place: tuple[str, str]) -> AsyncIterator[Store]:
    path, prefix = place
    opened = RedisStorage(path, prefix=prefix) if prefix else FileStorage(path)
    yield opened
    await opened.aclose()


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(TESTS), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def ask(process: subprocess.Popen[str], line: str) -> str:
    """Send a line and wait for one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def test_vectors_are_made_by_one_of_several_processes(
    store: Store, place: tuple[str, str], tmp_path: Path
) -> None:
    count = 600
    for number in range(count):
        source = f'"""Do number {number}."""\ndef run(): ...\n'
        await store.skills.add(f"skill_{number}", source)
        if number % 100 == 0:
            await store.skills.revision()
    log = tmp_path / "embedded"
    processes = [start(SEARCHER, *place, log) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    found = await asyncio.gather(*(ask(process, "go") for process in processes))
    for process in processes:
        process.communicate()
    assert set(found) == {"skill_77"}
    assert len(log.read_text().splitlines()) == count


async def test_fifty_searchers_never_see_what_another_process_has_deleted(
    store: Store, place: tuple[str, str]
) -> None:
    for name in ("paint", "song"):
        await store.skills.add(name, f'"""Make a {name}."""\ndef run(): ...\n')
    services = Services(store, limits=Limits())
    changer = start(CHANGER, *place)
    alive: set[str] = set()
    answered = 0

    async def search(number: int) -> None:
        nonlocal answered
        while not stop.is_set():
            sure, gone = frozenset(alive), frozenset(deleted)
            query = f"convert metal into gold {number % 7}"
            hits = await services.agent.call("skills", "search", [query], {"limit": 50})
            names = [hit.name for hit in hits]
            assert len(names) == len(set(names))
            # What was there before and after the search was there all the time.
            assert sure & alive <= set(names)
            assert not gone & set(names)
            answered += 1

    stop = asyncio.Event()
    deleted: set[str] = set()
    async with asyncio.TaskGroup() as searchers:
        for number in range(50):
            searchers.create_task(search(number))
        for number in range(12):
            name = f"alchemy_{number}"
            assert await ask(changer, f"create {name}") == "done"
            alive.add(name)
            if number % 2:
                old = f"alchemy_{number - 1}"
                alive.discard(old)
                assert await ask(changer, f"delete {old}") == "done"
                deleted.add(old)
            await asyncio.sleep(0.02)
        stop.set()
    changer.communicate()
    assert answered >= 50
    hits = await services.agent.call("skills", "search", ["convert into gold"], {"limit": 50})
    assert {hit.name for hit in hits if hit.name.startswith("alchemy")} == alive
