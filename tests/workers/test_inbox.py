"""Frames on their way in, however they are cut, and the memory that large ones wait for."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.workers.frames import ViolationError
from py_code_mode.workers.inbox import Inbox
from py_code_mode.workers.memory import LARGE, Memory
from py_code_mode_guest.wire import HEADER, MAX_FRAME_BYTES


class Reader:
    """An inbox that is fed by hand; what came out of it, and whether it asked for a pause."""

    def __init__(self, memory: Memory) -> None:
        self.inbox = Inbox(memory, pause=self._pause)
        self.bodies: list[bytes] = []
        self.paused = False

    def _pause(self, on: bool) -> None:
        self.paused = on

    def feed(self, data: bytes) -> bytes:
        """Receive as a socket would, until it is told to pause; returns what was not taken."""
        while data and not self.paused:
            buffer = self.inbox.buffer()
            taken = data[: len(buffer)]
            buffer[: len(taken)] = taken
            self.bodies += [bytes(body) for body in self.inbox.frames(len(taken))]
            data = data[len(taken) :]
        return data


def frame(body: bytes) -> bytes:
    return HEADER.pack(len(body)) + body


SIZES = st.sampled_from([0, 1, 5, 1000, LARGE - 5, LARGE, LARGE + 1, 3 * LARGE])
BODIES = st.lists(SIZES.map(lambda size: bytes([size % 251]) * size), max_size=6)


@given(BODIES, st.lists(st.integers(1, 4 * LARGE), min_size=1, max_size=20))
def test_frames_come_out_whole_however_they_were_cut(bodies: list[bytes], cuts: list[int]) -> None:
    memory = Memory(100 * LARGE)
    reader, at = Reader(memory), 0
    data = b"".join(map(frame, bodies))
    for cut in cuts:
        assert reader.feed(data[at : at + cut]) == b""
        at += cut
    assert reader.feed(data[at:]) == b""
    assert reader.bodies == bodies
    assert memory.held == 0


def test_a_frame_over_the_limit_is_a_violation_before_it_arrives() -> None:
    with pytest.raises(ViolationError, match="bytes"):
        Reader(Memory(1)).feed(HEADER.pack(MAX_FRAME_BYTES + 1))


async def test_a_large_frame_waits_for_memory_and_small_ones_do_not() -> None:
    memory = Memory(3 * LARGE)
    first, second, small = Reader(memory), Reader(memory), Reader(memory)
    body = b"x" * (2 * LARGE)
    assert first.feed(frame(body)[:-1]) == b""
    rest = second.feed(frame(body))
    assert (second.paused, memory.is_wanted, memory.held) == (True, True, 2 * LARGE)
    small.feed(frame(b"y"))
    assert small.bodies == [b"y"]
    first.feed(b"x")
    assert first.bodies == [body]
    await asyncio.sleep(0)
    assert second.paused is False
    assert second.feed(rest) == b""
    assert second.bodies == [body]
    assert memory.held == 0


async def test_who_waits_first_is_first() -> None:
    memory = Memory(4 * LARGE)
    holder, large, less = Reader(memory), Reader(memory), Reader(memory)
    holder.feed(frame(b"x" * (2 * LARGE))[:-1])
    large.feed(frame(b"l" * (3 * LARGE)))
    less.feed(frame(b"s" * (2 * LARGE)))
    assert (large.paused, less.paused) == (True, True)  # though the last would fit now
    holder.inbox.close()
    await asyncio.sleep(0)
    assert (large.paused, less.paused) == (False, True)


@pytest.mark.parametrize("granted", [False, True])
async def test_a_guest_that_is_gone_leaves_no_memory_behind(granted: bool) -> None:
    memory = Memory(3 * LARGE)
    holder, waiting, after = Reader(memory), Reader(memory), Reader(memory)
    holder.feed(frame(b"x" * (2 * LARGE))[:-1])
    waiting.feed(frame(b"x" * (2 * LARGE)))
    after.feed(frame(b"x" * (2 * LARGE)))
    if granted:  # and it is gone before it hears of that
        holder.inbox.close()
        waiting.inbox.close()
    else:
        waiting.inbox.close()
        holder.inbox.close()
    await asyncio.sleep(0)
    assert (memory.held, memory.is_wanted, after.paused) == (2 * LARGE, False, False)
    after.inbox.close()
    assert memory.held == 0


async def test_one_frame_by_itself_never_waits_for_ever() -> None:
    memory = Memory(1)
    reader = Reader(memory)
    reader.feed(frame(b"x" * (2 * LARGE)))
    assert len(reader.bodies) == 1


def test_a_buffer_is_used_again_and_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(100 * LARGE)
    reader = Reader(memory)
    for letter in (b"a", b"b"):
        reader.feed(frame(letter * (2 * LARGE)))
    reader.feed(frame(b"c" * (LARGE + 1)))  # shorter than the buffer, of which it sees its part
    assert reader.bodies == [b"a" * (2 * LARGE), b"b" * (2 * LARGE), b"c" * (LARGE + 1)]
    kept = memory.buffer(2 * LARGE)
    memory.keep(kept)
    assert memory.buffer(LARGE) is kept
    memory.keep(kept)
    memory.drop_unused()
    assert memory.buffer(LARGE) is kept
    memory.keep(kept)
    monkeypatch.setattr("py_code_mode.workers.memory._KEEP_S", -1.0)
    memory.drop_unused()
    assert memory.buffer(LARGE) is not kept
    memory.keep(bytearray(17 * 1024 * 1024))
    assert len(memory.buffer(LARGE)) == LARGE


async def test_room_that_was_granted_as_its_taker_was_cancelled_comes_back() -> None:
    memory = Memory(10)
    memory.take(10)
    waiting = asyncio.create_task(memory.room(8))
    await asyncio.sleep(0)
    memory.give_back(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert memory.held == 0
