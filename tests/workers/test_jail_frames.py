"""What a jail may send: answers no longer than its programs may print."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

from py_code_mode.errors import WorkerStartError
from py_code_mode.models import Program
from py_code_mode.workers.jail import JailProcess
from py_code_mode_guest.wire import HEADER, pack


async def answer(sent: bytes, *, max_output_bytes: int, cancelled: bool = False) -> object:
    """Return what became of a program whose jail says ``sent``, and the signals that it got."""
    signals: list[int] = []
    process = JailProcess(1, 1, signals.append)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: process, sock=ours)
    program = Program(("/bin/true",), {}, timeout_s=5, max_output_bytes=max_output_bytes)
    run = asyncio.create_task(process.run(program))
    await asyncio.sleep(0)
    if cancelled:
        run.cancel()
        await asyncio.sleep(0)
    with theirs:
        theirs.sendall(sent)
        await asyncio.wait([run], timeout=0.3)
        if run.done() and not run.cancelled() and run.exception() is None:
            return run.result().stdout
        with contextlib.suppress(WorkerStartError, asyncio.CancelledError):
            await run
        return signals


def ended(stdout: bytes) -> bytes:
    return pack(
        {"type": "ended", "id": 1, "exit_code": 0, "stdout": stdout, "stderr": b"",
         "timed_out": False, "truncated": False, "reason": ""}
    )  # fmt: skip


async def test_an_answer_has_the_output_that_was_allowed() -> None:
    assert await answer(ended(b"x" * 100_000), max_output_bytes=100_000) == b"x" * 100_000


async def test_a_jail_that_announces_more_is_ended_before_it_sends_it() -> None:
    assert await answer(HEADER.pack(200_000), max_output_bytes=100_000) == [signal.SIGKILL]


async def test_the_answer_to_a_program_that_was_given_up_may_still_be_large() -> None:
    sent = ended(b"x" * 100_000)
    assert await answer(sent, max_output_bytes=100_000, cancelled=True) == []
