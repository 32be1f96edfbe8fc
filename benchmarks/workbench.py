"""What the cases work on: pools, workers with a trivial authority, and open sessions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from py_code_mode.models import Limits, SessionId
from py_code_mode.services.registry import Services
from py_code_mode.sessions.authority import SessionAuthority
from py_code_mode.sessions.session import PRELOAD
from py_code_mode.workers.authority import MakeRoom
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.process import Worker
from py_code_mode.workers.turn import Outcome
from py_code_mode.workers.zygote import ZygoteConfig

DATA = ("numpy", "pandas")
ONE_PLUS_ONE = "1+1"
_TIMEOUT_S = 60.0
_ID = SessionId("bench")


class Bench:
    """An authority with one namespace and one operation, which returns at once."""

    def describe(self) -> Mapping[str, Any]:
        """Return ``bench.nothing()``."""
        return {"bench": [{"name": "nothing", "signature": "() -> None", "doc": "Nothing."}]}

    async def call(
        self,
        _namespace: str,
        _operation: str,
        _args: list[Any],
        _kwargs: dict[str, Any],
        *,
        room: MakeRoom,
    ) -> Any:
        """Return None."""
        return None

    def event_name(self, _namespace: str, _operation: str, _kwargs: Mapping[str, Any]) -> None:
        """Tell nobody."""
        return

    def packages(self) -> str:
        """Return no folder."""
        return ""


def new_pool(*, enforce: bool = True, preload: tuple[str, ...] = (), ready: int = 0) -> Pool:
    """Return a pool that keeps ``ready`` workers forked ahead."""
    return Pool(
        ZygoteConfig(
            root=os.path.join(tempfile.gettempdir(), "py-code-mode-bench"),
            limits=Limits(pool_size=ready),
            preload=(*PRELOAD, *preload),
            enforce=enforce,
        )
    )


async def new_worker(pool: Pool, services: Services | None = None) -> Worker:
    """Return a worker that has answered its first run."""
    worker = await pool.checkout()
    jail = pool.jails.of(worker)
    worker.bind(Bench() if services is None else SessionAuthority(services, worker, jail, _ID))
    await run(worker, ONE_PLUS_ONE)
    return worker


def run(worker: Worker, code: str, timeout_s: float = _TIMEOUT_S) -> Awaitable[Outcome]:
    """Run code as a session would."""
    return worker.run(code, name="<run 1>", timeout_s=timeout_s)


async def value_of(worker: Worker, code: str) -> Any:
    """Run code that must not fail and return its value."""
    outcome = await run(worker, code)
    if outcome.error is not None or outcome.crash is not None:
        raise RuntimeError(f"the benchmark's code failed: {outcome.error or outcome.crash}")
    return outcome.value


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and those it starts, on one core: nobody waits for another to wake up."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield an empty folder where the sessions' own folders are too."""
    with tempfile.TemporaryDirectory(prefix="py-code-mode-bench-files-") as folder:
        yield folder
