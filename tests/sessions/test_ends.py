"""A run always ends: interrupted with its variables, killed, or crashed; and the next one works."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from py_code_mode import MemoryStorage, Session
from py_code_mode.errors import (
    CodeTooLargeError,
    InvalidArgumentError,
    SessionBusyError,
    TimeoutTooLargeError,
)
from py_code_mode.sessions.manager import SessionManager
from py_code_mode.workers.process import Worker
from sessions.conftest import LIMITS, Run

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERRUPTIBLE = {
    "an endless loop": "while True: pass",
    "a sleep": "import time; time.sleep(60)",
    "a catastrophic regex": "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')",
    "a big power": "10 ** (10 ** 8) // 3 ** (10 ** 7) if False else [x for x in iter(int, 1)]",
    "an await": "import asyncio; await asyncio.sleep(60)",
    "a join": "import threading; threading.Event().wait()",
    "an endless print": "while True: print('x')",
    "a stubborn handler": "while True:\n    try:\n        while True: pass\n    except ValueError: pass",
    "a __repr__ that never ends": (
        "class Slow:\n    def __repr__(self):\n        while True: pass\nSlow()"
    ),
}

KILLED = {
    "a C loop": "sum(range(10**12))",
    "ignored signals": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "masked signals": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\nwhile True: pass"
    ),
}

CRASHED = {
    "os._exit": "import os; os._exit(1)",
    "a segmentation fault": "import ctypes; ctypes.string_at(0)",
    "runaway recursion": (
        "import sys; sys.setrecursionlimit(10**9)\n"
        "class R:\n    def __getattr__(self, n): return getattr(self, n + 'x')\n"
        "def f(): return repr(type('X', (), {'__repr__': lambda s: repr(s)})())\nf()"
    ),
    "an abort": "import os; os.abort()",
    "a kill of itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("code", INTERRUPTIBLE.values(), ids=INTERRUPTIBLE)
async def test_is_interrupted_at_the_deadline_with_variables_kept(run: Run, code: str) -> None:
    await run("kept = 'still here'")
    result = await run(code, timeout=0.3)
    assert result.error_type == "ExecutionTimeoutError", result
    assert "variables are kept" in (result.error or "")
    assert not result.state.lost
    assert await run.value("kept") == "still here"


@pytest.mark.parametrize("code", KILLED.values(), ids=KILLED)
async def test_is_killed_after_the_grace_and_the_loss_is_told(run: Run, code: str) -> None:
    await run("gone = 1")
    result = await run(f"print('before')\n{code}", timeout=0.3)
    assert (result.error_type, result.state.lost) == ("ExecutionTimeoutError", True), result
    assert result.stdout.startswith("before\n")
    assert (await run("gone")).error_type == "NameError"


@pytest.mark.parametrize("code", CRASHED.values(), ids=CRASHED)
async def test_a_crash_is_told_and_the_next_run_works(run: Run, code: str) -> None:
    result = await run(code)
    assert (result.error_type, result.state.lost) == ("WorkerCrashed", True), result
    assert "skills and artifacts are kept" in (result.error or "")
    after = await run("1 + 1")
    assert (after.value, after.state.lost) == (2, False)


async def test_bombs_meet_ordinary_exceptions(run: Run) -> None:
    memory = await run("x = bytearray(3 * 10**9)")
    assert memory.error_type == "MemoryError"
    fork = await run("import os\nwhile True: os.fork()")
    assert fork.error_type == "PermissionError"
    recursion = await run("def f(): f()\nf()")
    assert recursion.error_type == "RecursionError"
    files = await run("opened = []\nwhile True: opened.append(open('f', 'w'))")
    assert files.error_type == "OSError"
    assert await run.value("opened.clear(); 1") == 1


async def test_a_blocked_host_call_is_interrupted_and_the_next_one_answered(run: Run) -> None:
    # More calls than are served at once, so that the last ones wait for the host.
    code = "import asyncio\nwhile True: await asyncio.gather(*(artifacts.list.call_async() for _ in range(200)))"
    result = await run(code, timeout=0.3)
    assert result.error_type == "ExecutionTimeoutError", result
    assert await run.value("artifacts.list()") == []


async def test_many_interrupts_in_the_middle_of_calls_tear_no_frame(run: Run) -> None:
    await run("count = 0")
    for _ in range(15):
        result = await run("while True: artifacts.exists('x'); count += 1", timeout=0.02)
        assert result.error_type == "ExecutionTimeoutError", result
        assert not result.state.lost
    count = await run.value("count")
    assert isinstance(count, int)
    assert count > 15


async def test_a_cleanup_block_runs_when_an_await_is_interrupted(run: Run) -> None:
    code = (
        "import asyncio\nasync def work():\n    try:\n        await asyncio.sleep(60)\n"
        "    finally:\n        print('cleaned up')\nawait work()"
    )
    result = await run(code, timeout=0.3)
    assert (result.stdout, result.error_type) == ("cleaned up\n", "ExecutionTimeoutError")


async def test_an_interrupt_ends_the_run_and_idle_has_none(
    run: Run, manager: SessionManager
) -> None:
    task = asyncio.create_task(run("x = 1\nwhile True: pass"))
    await asyncio.sleep(0.3)
    assert await manager.interrupt(run.id)
    assert (await task).error_type == "KeyboardInterrupt"
    assert not await manager.interrupt(run.id)
    assert await run.value("x") == 1


async def test_a_vanished_caller_interrupts_its_run(run: Run) -> None:
    task = asyncio.create_task(run("y = 2\nwhile True: pass"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await run.value("y") == 2


async def test_runs_of_one_session_queue_and_too_many_are_refused(run: Run) -> None:
    first = asyncio.create_task(run("import time; time.sleep(0.5); order = [0]"))
    await asyncio.sleep(0.1)
    waiting = [
        asyncio.create_task(run(f"order.append({i})")) for i in range(1, LIMITS.max_queue + 1)
    ]
    await asyncio.sleep(0)
    with pytest.raises(SessionBusyError, match="runs waiting"):
        await run("1")
    await asyncio.gather(first, *waiting)
    assert await run.value("order") == list(range(LIMITS.max_queue + 1))


async def test_reset_forgets_variables_and_files_and_is_no_loss(
    run: Run, manager: SessionManager
) -> None:
    await run("x = 1; open('f', 'w').write('f')")
    await manager.reset(run.id)
    result = await run("import os; 'x' in globals(), os.listdir()")
    assert (result.value, result.state.generation, result.state.lost) == ([False, []], 1, False)


@pytest.mark.parametrize("max_queue", [0, 1])
async def test_reset_needs_no_place_in_the_queue(max_queue: int) -> None:
    limits = replace(LIMITS, max_queue=max_queue)
    async with Session(MemoryStorage(), limits=limits) as session:
        await session.run("kept = 1")
        runs = [asyncio.create_task(session.run("import time; time.sleep(20)"))]
        runs += [asyncio.create_task(session.run("2")) for _ in range(max_queue)]
        await asyncio.sleep(0.2)
        await session.reset()
        assert (await runs[0]).error_type == "WorkerCrashed"
        result = await session.run("'kept' in dir()")
        assert (result.value, result.state.generation, result.state.lost) == (False, 1, False)


async def test_a_worker_that_dies_between_runs_is_told_at_the_next(run: Run) -> None:
    await run(
        "import threading, os, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), os._exit(9)), daemon=True).start()"
    )
    await asyncio.sleep(0.8)
    result = await run("1")
    assert (result.value, result.state.lost) == (1, True)
    assert not (await run("1")).state.lost


async def test_cpu_burnt_after_the_answer_ends_the_worker(run: Run) -> None:
    await run(
        "import threading\ndef burn():\n    while True: pass\n"
        "for _ in range(4): threading.Thread(target=burn, daemon=True).start()"
    )
    for _ in range(60):
        await asyncio.sleep(0.25)
        if not any(worker.alive and worker.pid for worker in _taken(run)):
            break
    assert (await run("1")).state.lost


def _taken(run: Run) -> list[Worker]:
    session = run.manager._sessions[run.id]
    return [session._worker] if session._worker is not None and session._worker.alive else []


async def test_too_many_threads_and_a_full_disk_end_the_worker(run: Run) -> None:
    threads = await run(
        "import threading, time\n"
        "for _ in range(100): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "time.sleep(10)"
    )
    assert "too many threads" in (threads.error or "")
    disk = await run(
        "import time\nfor i in range(40):\n    open(f'f{i}', 'wb').write(b'x' * 10_000_000)\ntime.sleep(10)"
    )
    assert "filled its folder" in (disk.error or ""), disk
    assert await run.value("1") == 1


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, "5"])
async def test_a_timeout_that_is_no_time_is_refused(run: Run, timeout: float) -> None:
    with pytest.raises(InvalidArgumentError, match="timeout must be"):
        await run("1", timeout)


async def test_what_is_too_large_is_refused_before_it_runs(run: Run) -> None:
    with pytest.raises(TimeoutTooLargeError, match="over the limit of 360 s"):
        await run("1", 361)
    with pytest.raises(CodeTooLargeError, match="artifact"):
        await run("#" * (LIMITS.max_code_bytes + 1))
    with pytest.raises(InvalidArgumentError, match="lone surrogate"):
        await run("'\ud800'")


async def test_a_caller_that_is_cancelled_again_and_again_leaves_the_session_usable(
    run: Run,
) -> None:
    await run("kept = 1")
    task = asyncio.create_task(run("import time\nwhile True: time.sleep(0.01)"))
    await asyncio.sleep(0.3)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await run.value("kept") == 1


async def test_a_call_of_a_loop_that_was_closed_disturbs_nobody(run: Run) -> None:
    await run(
        "import asyncio, time\n"
        "loop = asyncio.new_event_loop()\n"
        "task = loop.create_task(artifacts.exists.call_async('x'))\n"
        "loop.run_until_complete(asyncio.sleep(0))\n"
        "loop.close()"
    )
    result = await run("del task\ntime.sleep(0.2)\nartifacts.exists('x')")
    assert (result.value, result.error, result.state.lost) == (False, None, False)
    assert "Event loop is closed" not in result.stderr
