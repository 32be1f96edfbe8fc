"""Group 6: other ways to run Python for a model, beside ours: ipykernel and pydantic-monty.

ipykernel is full Python without a sandbox, started by exec. Monty is a sandboxed interpreter of a
subset of Python in Rust. Both are asked the way their own documentation does it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager
from pydantic_monty import Monty

from benchmarks.creation import start_case
from benchmarks.results import Results
from benchmarks.sampling import MS, Case, Counts, Tally, interleave
from benchmarks.warm import block_case
from benchmarks.workbench import ONE_PLUS_ONE, new_pool, new_worker, run, scratch_folder

_STARTS = "Other ways to run Python: the start"
_RUNS = "Other ways to run Python: runs"
_LOOP = "total = 0\nfor i in range(10_000):\n    total += i\ntotal"
_KERNEL_TIMEOUT_S = 30.0


class Kernel:
    """An ipykernel and its client; ``folder`` takes the files it writes."""

    def __init__(self, folder: str) -> None:
        self._manager = KernelManager(
            connection_file=os.path.join(folder, "kernel.json"),
            transport="ipc",
            ip=os.path.join(folder, "kernel"),
        )
        self._environment = {**os.environ, "IPYTHONDIR": folder}

    def __enter__(self) -> Kernel:
        self._manager.start_kernel(env=self._environment)
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=_KERNEL_TIMEOUT_S)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def run(self, code: str) -> str:
        """Run code; returns its value's text once both it and the answer to the request are in."""
        sent = self._client.execute(code)
        value = self._message(self._client.get_iopub_msg, sent, "execute_result")
        self._message(self._client.get_shell_msg, sent, "execute_reply")
        return str(value["content"]["data"]["text/plain"])

    def _message(self, get: Callable[..., Any], request: str, kind: str) -> Any:
        while True:
            try:
                message = get(timeout=_KERNEL_TIMEOUT_S)
            except Empty:
                raise RuntimeError("the kernel did not answer") from None
            if message["parent_header"].get("msg_id") == request and message["msg_type"] == kind:
                return message


async def measure(results: Results, counts: Counts) -> None:
    """Measure starts and warm runs of each, ours among them, in turns."""
    await _measure_starts(results, counts)
    await _measure_runs(results, counts)
    results.ratio("ipykernel's start, against the pool", "kernel_start", "start", 50, at_least=True)
    results.ratio("ipykernel's run, against ours", "kernel_run", "run", 20, at_least=True)


async def _measure_starts(results: Results, counts: Counts) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        pool = await stack.enter_async_context(new_pool(ready=1))
        monty = stack.enter_context(Monty())
        cases = [start_case("pool", pool), _monty_start(monty), _kernel_start(folder)]
        tally = await interleave(cases, rounds=counts.kernel_starts)
    for key, title, source in (
        ("start", "py-code-mode: from the pool, first `1+1`", "pool_first"),
        ("monty_start", "pydantic-monty: from its pool, first `1+1`", "monty_start"),
        ("kernel_start", "ipykernel: start, first `1+1`", "kernel_start"),
    ):
        results.add(key, _STARTS, title, "ms", tally.scaled(source, MS))


def _kernel_start(folder: str) -> Case:
    async def start(tally: Tally) -> None:
        started = time.perf_counter()
        with Kernel(folder) as kernel:
            kernel.run(ONE_PLUS_ONE)
            tally.add("kernel_start", time.perf_counter() - started)

    return start


def _monty_start(monty: Monty) -> Case:
    async def start(tally: Tally) -> None:
        started = time.perf_counter()
        with monty.checkout() as session:
            session.feed_run(ONE_PLUS_ONE)
            tally.add("monty_start", time.perf_counter() - started)

    return start


async def _measure_runs(results: Results, counts: Counts) -> None:
    block = 10
    async with AsyncExitStack() as stack:
        kernel = stack.enter_context(Kernel(stack.enter_context(scratch_folder())))
        monty = stack.enter_context(stack.enter_context(Monty()).checkout())
        pool = await stack.enter_async_context(new_pool())
        worker = await new_worker(pool)
        cases = []
        for key, code in (("run", ONE_PLUS_ONE), ("loop", _LOOP)):
            cases += [
                block_case(key, partial(run, worker, code), block),
                block_case(f"monty_{key}", _blocking(monty.feed_run, code), block),
                block_case(f"kernel_{key}", _blocking(kernel.run, code), block),
            ]
        tally = await interleave(cases, rounds=max(2, counts.peer_runs // block))
    for key, title in _RUN_TITLES.items():
        results.add(key, _RUNS, title, "ms", tally.scaled(key, MS))


def _blocking(function: Callable[[str], Any], code: str) -> Callable[[], Any]:
    """Nothing else is under way, and a thread would only add its own time to a peer's."""

    async def call() -> None:
        function(code)

    return call


_RUN_TITLES = {
    "run": "py-code-mode: `1+1`",
    "monty_run": "pydantic-monty: `1+1`",
    "kernel_run": "ipykernel: `1+1`",
    "loop": "py-code-mode: a loop of 10,000 additions",
    "monty_loop": "pydantic-monty: the same loop",
    "kernel_loop": "ipykernel: the same loop",
}
