"""Interrupts that land while threads and coroutines share the wire."""

from __future__ import annotations

import asyncio

import pytest

from hostile.arena import Arena

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROUNDS = 8

CALLS = """
import asyncio, threading, time
def ask(end):
    while time.monotonic() < end:
        try: artifacts.list()
        except CodeModeError: pass
for _ in range(3):
    threading.Thread(target=ask, args=(time.monotonic() + 0.3,), daemon=True).start()
async def ask_too():
    while True: await artifacts.list.call_async()
"""
MANY = {
    "coroutines": "await asyncio.gather(*(ask_too() for _ in range(5)))",
    "the main thread": "ask(float('inf'))",
    "a skill's coroutine in a thread": "ask(time.monotonic() + 0.05)\nawait ask_too()",
}


@pytest.mark.parametrize("last", MANY.values(), ids=MANY)
async def test_calls_go_on_after_interrupts_at_any_moment(ground: Arena, last: str) -> None:
    for number in range(ROUNDS):
        result = await ground.run(f"mark = {number}\n{CALLS}\n{last}", 0.1 + number * 0.003)
        assert result.error_type == "ExecutionTimeoutError"
        assert not result.state.lost
        after = await ground.run("(mark, len(artifacts.list()))", 3.0)
        assert (after.value, after.error) == ([number, 0], None)
    left = await ground.run("time.sleep(0.6); threading.active_count()", 3.0)
    assert left.value == 1


async def test_a_flood_of_interrupts_is_survived(ground: Arena) -> None:
    await ground.run(f"{CALLS}\nhits = 0", 3.0)
    code = """
import signal
end = time.monotonic() + 1.0
def shoot():
    while time.monotonic() < end: signal.raise_signal(2); time.sleep(0.0005)
threading.Thread(target=shoot, daemon=True).start()
while time.monotonic() < end:
    try: artifacts.list()
    except KeyboardInterrupt: hits += 1
time.sleep(0.05)
hits
"""
    result = await ground.run(code, 5.0)
    assert result.error_type in (None, "KeyboardInterrupt")
    await asyncio.sleep(1.2)  # an interrupt may end the run early; the thread shoots on
    after = await ground.run("[hits >= 0, artifacts.list()]", 3.0)
    assert (after.value, after.state.lost) == ([True, []], False)
