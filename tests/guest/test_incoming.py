"""Frames for which there is no memory are passed over, and no byte after them is lost."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from py_code_mode.workers.outgoing import reply_frame, run_frame
from py_code_mode_guest import incoming
from py_code_mode_guest.incoming import Incoming
from py_code_mode_guest.wire import pack


class Full(bytearray):
    """Takes so many bytes and no more."""

    most = 0

    def __iadd__(self, more: Any) -> Full:  # type: ignore[misc]  # as bytearray's
        if len(self) + len(more) > self.most:
            raise MemoryError
        super().__iadd__(more)
        return self


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_is_wanted_of_a_frame_that_is_passed_over_is_kept(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "bytearray", Full, raising=False)
    ours, theirs = pair
    taken = Incoming(ours, None, lambda: None)
    theirs.sendall(b"".join(reply_frame(7, "x" * 5000, packages="/a/folder")))
    theirs.sendall(run_frame(8, "1 + 1", "<run 8>", 100, packages="/other"))
    assert list(taken.frames()) == [
        {"type": "reply", "id": 7, "packages": "/a/folder", "lacks_memory": True},
        {"type": "run", "id": 8, "packages": "/other", "lacks_memory": True},
    ]


@pytest.mark.parametrize("most", [10, 30, 200, 1000, 5000, 100_000])
@pytest.mark.parametrize("step", [1, 7, 100, 60_000])
def test_each_frame_is_told_of_in_order(
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    step: int,
) -> None:
    monkeypatch.setattr(incoming, "bytearray", Full, raising=False)
    monkeypatch.setattr(Full, "most", most)
    ours, theirs = pair
    asked_for_room: list[int] = []
    taken = Incoming(ours, None, lambda: asked_for_room.append(1))
    sizes = [5, 50_000, 0, 300, 4000, 20, 9000]
    sent = [{"type": "reply", "id": n, "value": b"x" * size} for n, size in enumerate(sizes)]
    stream = b"".join(map(pack, sent))
    found: list[dict[str, Any]] = []
    for at in range(0, len(stream), step):
        theirs.sendall(stream[at : at + step])
        found += taken.frames()
    assert [(frame["type"], frame["id"]) for frame in found] == [
        ("reply", number) for number in range(len(sizes))
    ]
    for frame in found:
        assert frame.get("value") == sent[frame["id"]]["value"] or frame["lacks_memory"] is True
    if most == 100_000:
        assert found == sent
