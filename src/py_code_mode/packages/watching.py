"""Work that is ended once it has taken more than it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

_LOOK_EVERY_S: Final = 0.25


async def watched(work: Awaitable[T], is_over: Callable[[], Awaitable[bool]]) -> T | None:
    """Return what ``work`` comes to; None where ``is_over`` meanwhile or then, which ends it."""
    run = asyncio.ensure_future(work)
    pause_s = _LOOK_EVERY_S
    try:
        while True:
            await asyncio.wait({run}, timeout=pause_s)
            started = asyncio.get_running_loop().time()
            if await is_over():
                return None
            if run.done():
                return run.result()
            # To look may take a while (a large cache is walked through); never do only that.
            taken_s = asyncio.get_running_loop().time() - started
            pause_s = max(_LOOK_EVERY_S, 10 * taken_s)
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
