"""Large calls and answers: side by side, in order, and within the memory of all sessions."""

from __future__ import annotations

import asyncio

import pytest

from py_code_mode import FileStorage, Limits, MemoryStorage, Session
from py_code_mode.services.registry import Services
from py_code_mode.sessions.manager import SessionManager
from py_code_mode.workers import memory
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig
from sessions.conftest import Run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_large_answers_come_while_large_arguments_go(run: Run) -> None:
    """The host reads no more from a guest that does not read: so a guest that sends must read."""
    code = """
import asyncio
body = bytes(12_000_000)
artifacts.save("large", body)
async def main():
    loads = [artifacts.load.call_async("large") for _ in range(3)]
    saves = [artifacts.save.call_async(f"copy{n}", body) for n in range(3)]
    return [len(found) for found in (await asyncio.gather(*loads, *saves))[:3]]
await main()
"""
    assert await run.value(code) == [12_000_000] * 3


async def test_threads_do_so_too(run: Run) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
body = bytes(8_000_000)
artifacts.save("large", body)
def both(n):
    artifacts.save(f"copy{n}", body)
    return len(artifacts.load("large"))
with ThreadPoolExecutor(6) as threads:
    sizes = list(threads.map(both, range(6)))
sizes
"""
    assert await run.value(code) == [8_000_000] * 6


@pytest.mark.parametrize(
    "made",
    [
        "{'numbers': list(range(100_000)), 'text': 'é' * 100_000}",
        "[1.5, None, True, 10**100] * 20_000",
        "'text with é, \\U0001f600 and \\x00' * 30_000",
        "bytes(range(256)) * 3000",
    ],
    ids=["dict", "list", "text", "bytes"],
)
async def test_a_large_value_comes_back_as_what_it_was(run: Run, made: str) -> None:
    code = f"""
value = {made}
artifacts.save("value", value)
found = artifacts.load("value")
(type(found).__name__ == type(value).__name__, found == value)
"""
    assert await run.value(code) == [True, True]


@pytest.mark.parametrize(
    ("media_type", "small", "padding", "kind"),
    [
        ("application/json", b"\xef\xbb\xbf[1]", b" ", "list"),
        ("application/json", b"[1", b" ", "str"),
        ("application/json", b'["\\ud800"]', b" ", "str"),
        ("application/json", b"[" * 20_000 + b"]" * 20_000, b" ", "str"),
        ("application/json", b"[NaN]", b" ", "str"),
        ("application/json", b"\xff", b" ", "bytes"),
        ("text/csv", b"a,b\n", b"1,2\n", "str"),
        ("text/plain", b"\xff", b"x", "bytes"),
        ("application/x-unknown", b"x", b"x", "bytes"),
    ],
)
async def test_a_large_body_is_read_as_a_small_one_is(
    media_type: str, small: bytes, padding: bytes, kind: str
) -> None:
    """The same rules on both sides of the wire: the host reads small bodies, the guest large."""
    store = MemoryStorage()
    await store.artifacts.add("small", small, media_type=media_type)
    await store.artifacts.add("large", small + padding * 300_000, media_type=media_type)
    code = "[type(artifacts.load(name)).__name__ for name in ('small', 'large')]"
    async with Session(store) as session:
        run = await session.run(code)
    assert run.value == [kind, kind], run.error


async def test_what_no_session_can_take_is_refused_with_its_size(tmp_path: object) -> None:
    store = FileStorage(str(tmp_path))
    await store.artifacts.add("huge", bytes(65_000_000))
    async with Session(store) as session:
        run = await session.run("artifacts.load('huge')")
        assert run.error_type == "ArtifactTooLargeError"
        assert "has 65,000,000 bytes; at most 64,000,000 can be loaded" in str(run.error)
        assert (await session.run("'on'")).value == "on"


async def test_a_guest_that_stalls_with_memory_that_others_need_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_MOVE_S", 0.3)
    limits = Limits(calls_memory_mb=1, pool_size=2)
    pool = Pool(ZygoteConfig(root="/tmp/py-code-mode-test", limits=limits))
    services = Services(MemoryStorage(), limits=limits)
    async with SessionManager(pool=pool, services=services, limits=limits) as manager:
        first, second = Run(manager), Run(manager)
        stalling = asyncio.create_task(
            first("import os, time; os.write(3, b'\\0\\0\\x20\\0'); time.sleep(8)")
        )
        await asyncio.sleep(0.5)
        assert await second.value("artifacts.save('x', bytes(3_000_000)).size") == 3_000_000
        stalled = await stalling
        assert stalled.error_type == "WorkerCrashed"
        assert pool.memory.held == 0


LARGE_THINGS = """
import os, threading, time, asyncio
for number in range(3):
    artifacts.save(f"large{number}", os.urandom(40_000_000))
data = bytes(20_000_000)
stop = False
async def load(number):
    await artifacts.load.call_async(f"large{number % 3}")
def again_and_again(work):
    def run():
        while not stop:
            try:
                work()
            except Exception:
                pass
    for _ in range(20):
        threading.Thread(target=run, daemon=True).start()
"""
BUSY = {
    "many large answers": "await asyncio.gather(*[load(number) for number in range(60)])",
    "threads that load": "again_and_again(lambda: artifacts.load('large1'))\ntime.sleep(60)",
    "threads that save": "again_and_again(lambda: artifacts.save('own', data))\ntime.sleep(60)",
}


@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
async def test_what_is_interrupted_among_large_calls_keeps_its_variables(code: str) -> None:
    async with Session(MemoryStorage(), limits=Limits(memory_mb=2000)) as session:
        assert (await session.run(LARGE_THINGS)).error is None
        result = await session.run(code, timeout=0.5)
        assert (result.error_type, result.state.lost) == ("ExecutionTimeoutError", False)
        assert (await session.run("stop = True\nlen(data)")).value == 20_000_000


async def test_a_small_call_does_not_wait_for_all_large_answers() -> None:
    code = """
loaded = []
async def load_one():
    await load(0)
    loaded.append(1)
async def main():
    loads = [asyncio.create_task(load_one()) for _ in range(30)]
    while not loaded:
        await asyncio.sleep(0)
    for _ in range(3):
        await artifacts.exists.call_async("large0")
    seen = len(loaded)
    await asyncio.gather(*loads)
    return seen
await main()
"""
    async with Session(MemoryStorage(), limits=Limits(memory_mb=2000)) as session:
        assert (await session.run(LARGE_THINGS)).error is None
        result = await session.run(code)
        assert result.error is None, result.error
        assert result.value < 20


async def test_a_cleanup_may_call_after_an_interrupt(run: Run) -> None:
    result = await run(
        "import time\ntry:\n    time.sleep(60)\nfinally:\n    artifacts.save('partial', 7)",
        timeout=0.3,
    )
    assert result.error_type == "ExecutionTimeoutError"
    assert await run.value("artifacts.load('partial')") == 7
