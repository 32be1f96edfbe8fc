"""Group 5: how fast a run is stopped, and how fast a death is known."""

from __future__ import annotations

import asyncio
import time

from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.workbench import new_pool, new_worker, run
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker

GROUP = "Interrupt and kill"
_INTO_THE_RUN_S = 0.01


async def measure(results: Results, counts: Counts) -> None:
    """Measure SIGINT in an endless loop, and SIGKILL."""
    async with new_pool() as pool:
        cases = [_interrupt_case(await new_worker(pool)), _kill_case(pool)]
        tally = await interleave(cases, rounds=counts.interrupts)
    results.add(
        "interrupt",
        GROUP,
        "`while True: pass` interrupted: SIGINT until the answer",
        "ms",
        tally.scaled("interrupt", MS),
    )
    results.add("kill", GROUP, "SIGKILL until the host knows", "ms", tally.scaled("kill", MS))


def _interrupt_case(worker: Worker) -> Case:
    async def take(tally: Tally) -> None:
        endless = asyncio.ensure_future(run(worker, "while True: pass"))
        await asyncio.sleep(_INTO_THE_RUN_S)
        started = time.perf_counter()
        worker.interrupt()
        outcome = await endless
        tally.add("interrupt", time.perf_counter() - started)
        if outcome.error_type != "KeyboardInterrupt":
            raise RuntimeError(f"the loop ended with {outcome.error_type}, not by the interrupt")

    return take


def _kill_case(pool: Pool) -> Case:
    async def take(tally: Tally) -> None:
        worker = await new_worker(pool)
        started = time.perf_counter()
        worker.kill("closed")
        await worker.died()
        tally.add("kill", time.perf_counter() - started)
        pool.discard(worker)

    return take
