"""What a worker said before it ended is told, also where its end is known first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from py_code_mode.models import Limits
from py_code_mode.workers.authority import MakeRoom
from py_code_mode.workers.memory import Memory
from py_code_mode.workers.process import Worker
from py_code_mode.workers.turn import Outcome
from py_code_mode_guest.wire import pack

LINES = [["stdout", f"{number}\n"] for number in range(50)]


class Recorder:
    """An authority that does nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def describe(self) -> Mapping[str, Any]:
        return {}

    async def call(
        self,
        namespace: str,
        operation: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        room: MakeRoom,
    ) -> Any:
        self.asked.append(f"{namespace}.{operation}({args}, {kwargs})")

    def event_name(self, namespace: str, operation: str, kwargs: Mapping[str, Any]) -> str | None:
        return None

    def packages(self) -> str:
        return ""


async def plenty_of_time() -> None:
    """Has delivered everything."""


async def outcome_of(
    *said: bytes, authority: Recorder | None = None, killed: str | None = None
) -> Outcome:
    """Run on a guest that sends ``said`` and ends; its end is told before any of it is read."""
    worker = Worker(
        1,
        "folder",
        limits=Limits(),
        memory=Memory(1 << 20),
        send_signal=lambda _number: None,
        delivered=plenty_of_time,
    )
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: worker.connection, sock=ours)
    worker.bind(authority or Recorder())
    run = asyncio.create_task(worker.run("code", name="<run 1>", timeout_s=5))
    await asyncio.sleep(0)
    with theirs:
        theirs.sendall(b"".join(said))
    if killed is not None:
        worker.kill(killed)
    worker.on_exit(4)
    return await run


async def test_lines_that_were_not_read_yet_are_told() -> None:
    outcome = await outcome_of(*(pack({"type": "output", "parts": [line]}) for line in LINES))
    assert outcome.stdout == "".join(text for _, text in LINES)
    assert outcome.crash is not None
    assert (outcome.crash.exit_code, outcome.crash.cause) == (4, "exited")


async def test_an_answer_that_was_not_read_yet_is_the_answer() -> None:
    done = {"type": "done", "id": 1, "value": 7, "parts": [], "truncated": []}
    outcome = await outcome_of(pack(done))
    assert (outcome.value, outcome.crash) == (7, None)


async def test_an_answer_that_comes_when_it_is_being_killed_is_none() -> None:
    """Else a run that could not be interrupted in time would say that its variables are kept."""
    done = {"type": "done", "id": 1, "value": 7, "parts": [], "truncated": []}
    said = [pack({"type": "output", "parts": LINES[:1]}), pack(done)]
    outcome = await outcome_of(*said, killed="timeout")
    assert (outcome.value, outcome.stdout) == (None, "0\n")
    assert outcome.crash is not None
    assert (outcome.crash.cause, outcome.crash.timed_out) == ("timeout", True)


async def test_last_words_that_are_no_frames_are_a_violation() -> None:
    outcome = await outcome_of(pack({"type": "output", "parts": LINES[:1]}), b"\xff" * 4)
    assert outcome.stdout == "0\n"
    assert outcome.crash is not None
    assert outcome.crash.cause == "violation"


async def test_a_call_among_last_words_is_not_done() -> None:
    call = {"type": "call", "id": 1, "namespace": "artifacts", "operation": "delete"}
    authority = Recorder()
    outcome = await outcome_of(pack({**call, "args": ["x"], "kwargs": {}}), authority=authority)
    await asyncio.sleep(0.01)
    assert outcome.crash is not None
    assert (outcome.crash.cause, authority.asked) == ("exited", [])
