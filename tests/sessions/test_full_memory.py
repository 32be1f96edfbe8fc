"""A session whose memory is full keeps its variables, whatever it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from py_code_mode import Limits, MemoryStorage, Session

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILL = """
filler = []
def fill(piece=1_000_000):
    try:
        while True:
            filler.append(bytearray(piece))
    except MemoryError:
        pass
"""
#: What is done in a session that has no room for 40 MB.
LOADS = {
    "a call": "artifacts.load('large')",
    "a call of a coroutine": "await artifacts.load.call_async('large')",
    "calls side by side": (
        "import asyncio\n"
        "await asyncio.gather(*[artifacts.load.call_async('large') for _ in range(4)])"
    ),
    "calls of threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(3) as threads:\n"
        "    for found in threads.map(lambda _: artifacts.load('large'), range(6)): pass"
    ),
}


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[Session]:
    async with Session(MemoryStorage(), limits=Limits(memory_mb=256)) as opened:
        result = await opened.run(f"{FILL}\nartifacts.save('large', bytes(40_000_000))\nkept = 1")
        assert result.error is None, result.error
        yield opened


@pytest.mark.parametrize("code", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("left", [60_000_000, 30_000_000])
async def test_an_answer_that_does_not_fit_is_a_memory_error(
    session: Session, code: str, left: int
) -> None:
    filled = await session.run(f"room = bytearray({left})\nfill()\ndel room")
    assert filled.error is None, filled.error
    result = await session.run(code)
    assert (result.error_type, result.state.lost) == ("MemoryError", False), result
    assert (await session.run("filler.clear()\nkept")).value == 1
    assert (await session.run("len(artifacts.load('large'))")).value == 40_000_000


async def test_what_met_the_limit_and_went_on_is_answered(session: Session) -> None:
    for _ in range(3):
        result = await session.run("fill()\nprint('full')\nkept")
        assert (result.value, result.stdout, result.state.lost) == (1, "full\n", False), result
    assert (await session.run("artifacts.exists('large')")).value is True
    assert (await session.run("filler.clear()\nkept")).value == 1


async def test_code_that_does_not_fit_is_a_memory_error(session: Session) -> None:
    await session.run("fill()")
    for _ in range(3):
        result = await session.run(f"text = '{'x' * 900_000}'\nfiller.append(text)\n'ran'")
        assert result.value == "ran" or result.error_type == "MemoryError", result
        assert not result.state.lost
    assert (await session.run("filler.clear()\nkept")).value == 1
