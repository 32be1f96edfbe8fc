"""Group 10: what a search takes, in the host and from agent code, and what the default costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.results import Results
from benchmarks.retrieval import read_data
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_pool, new_worker, scratch_folder, value_of
from py_code_mode.models import Limits
from py_code_mode.search.choose import choose_embedder
from py_code_mode.search.lexical import Document, readable
from py_code_mode.services.embedding import CollectionVectors
from py_code_mode.services.registry import Services
from py_code_mode.services.searched import index_of
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryStorage
from py_code_mode.workers.process import Worker

if TYPE_CHECKING:
    from py_code_mode.search.index import Entry

GROUP = "Search: what it takes"
_SKILLS, _STORED, _MANY = 1000, 10_000, 100_000
_SOURCE = '"""{} Variant {}."""\n\n\ndef run(value: str) -> str:\n    return value\n'

_GUEST_CODE = """
from time import perf_counter

def search(queries):
    times = []
    for query in queries:
        started = perf_counter()
        skills.search(query)
        times.append(perf_counter() - started)
    return times
"""

#: What a process of ours pays when its first search comes: numpy, the table, a text.
_COST = """
import time
from py_code_mode.search.choose import choose_embedder
from py_code_mode.services.registry import Services

def memory_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

before, started = memory_mb(), time.perf_counter()
choose_embedder("static").embed_query("resize a picture")
print(time.perf_counter() - started, memory_mb() - before)
"""


async def measure(results: Results, counts: Counts) -> None:
    """Measure searches among 1,000 and 100,000, the first load of 10,000, and the start."""
    _import_cost(results, counts)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        memory, files = MemoryStorage(), FileStorage(base_path=folder)
        await _fill(memory)
        await _fill(files)
        pool = await stack.enter_async_context(new_pool())
        worker = await new_worker(pool, Services(memory, limits=Limits()))
        await value_of(worker, _GUEST_CODE)
        cases = [
            _host_case("memory", Services(memory, limits=Limits()), counts.calls),
            _host_case("files", Services(files, limits=Limits()), counts.calls),
            _agent_case(worker, counts.calls),
            await _load_case(files),
            _many_case(),
        ]
        tally = await interleave(cases, rounds=max(1, counts.saves // 2))
    for key, title in _TITLES.items():
        results.add(key, GROUP, title, "ms", tally.scaled(key, MS))
    results.limit("a search among 1,000 skills, in the host", "search memory", 1.0)
    results.limit("a search among 1,000 skills, from agent code", "search agent", 2.0)
    results.limit("ranking 100,000 documents", "search many", 20.0)
    results.limit("the first load of 10,000 vectors", "search load", 200.0)


_TITLES = {
    "search memory": "among 1,000 skills in memory, in the host",
    "search files": "among 1,000 skills in files, in the host",
    "search agent": "among 1,000 skills in memory, from agent code",
    "search many": "a query embedded and ranked against 100,000 documents",
    "search load": "the first load of 10,000 vectors from files, and the index over them",
}


def _queries(count: int) -> list[str]:
    """Return questions, each another: what was asked before is remembered."""
    questions = [question.text for question in read_data()[1]]
    return [f"{questions[n % len(questions)]} {n}" for n in range(count)]


async def _fill(store: MemoryStorage | FileStorage) -> None:
    items, _ = read_data()
    for number in range(_SKILLS):
        item = items[number % len(items)]
        await store.skills.add(f"{item.name}_{number}", _SOURCE.format(item.text, number))


def _host_case(name: str, services: Services, count: int) -> Case:
    async def take(tally: Tally) -> None:
        for query in _queries(count):
            started = time.perf_counter()
            await services.agent.call("skills", "search", [query], {})
            tally.add(f"search {name}", time.perf_counter() - started)

    return take


def _agent_case(worker: Worker, count: int) -> Case:
    async def take(tally: Tally) -> None:
        times: list[Any] = await value_of(worker, f"search({_queries(count)!r})")
        tally.add("search agent", *times)

    return take


async def _load_case(store: MemoryStorage | FileStorage) -> Case:
    entries = _entries(_STORED)
    texts = {entry.key: entry.text for entry in entries}
    items = [[entry] for entry in entries]
    embedder = choose_embedder("static")
    await CollectionVectors("bench", store.vectors, embedder).of(texts)

    async def take(tally: Tally) -> None:
        started = time.perf_counter()
        fresh = CollectionVectors("bench", store.vectors, embedder)
        rows = await fresh.of(texts)
        await asyncio.to_thread(index_of, items, rows, fresh.dim)
        tally.add("search load", time.perf_counter() - started)

    return take


def _many_case() -> Case:
    embedder = choose_embedder("static")
    entries = _entries(_MANY // 50)
    rows = embedder.embed_docs([entry.text for entry in entries]).astype("<f2")
    vectors = {entry.key: row.tobytes() for entry, row in zip(entries, rows, strict=True)}
    index = index_of([[entry] for entry in entries * 50], vectors, embedder.dim)

    async def take(tally: Tally) -> None:
        for query in _queries(20):
            started = time.perf_counter()
            vector = embedder.embed_query(readable(query))
            await asyncio.to_thread(index.search, query, vector, 10)
            tally.add("search many", time.perf_counter() - started)

    return take


def _entries(count: int) -> list[Entry]:
    from py_code_mode.search.index import Entry  # noqa: PLC0415 - it loads numpy

    items, _ = read_data()
    chosen = (items[number % len(items)] for number in range(count))
    return [
        Entry.of(Document(item.name, f"{item.text} Variant {number}."))
        for number, item in enumerate(chosen)
    ]


def _import_cost(results: Results, counts: Counts) -> None:
    seconds, memory = [], []
    for _ in range(max(1, counts.saves // 2)):
        done = subprocess.run(
            [sys.executable, "-c", _COST], capture_output=True, text=True, check=True
        )
        took, weighs = map(float, done.stdout.split())
        seconds.append(took * MS)
        memory.append(weighs)
    title = "loading the default table and numpy, once for a process"
    results.add("search import", GROUP, title, "ms", seconds)
    results.add("search memory use", GROUP, f"{title}: resident memory", "MB", memory)
    results.limit("loading the default table", "search import", 60.0)
    results.limit("memory of the default table", "search memory use", 30.0)
