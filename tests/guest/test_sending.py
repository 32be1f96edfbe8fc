"""Frames that are sent amid others: by threads, and by finalisers, which run anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from py_code_mode_guest.output import Outlet
from py_code_mode_guest.sending import Frames

PATIENCE_S = 5.0


class Socket:
    """Takes pieces, and lets something happen right after the first of them."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.then: Callable[[], None] | None = None

    def send(self, piece: bytes) -> None:
        self.pieces.append(piece)
        then, self.then = self.then, None
        if then is not None:
            then()


def test_a_frame_of_a_finaliser_goes_out_after_the_frame_that_it_met() -> None:
    socket = Socket()
    frames = Frames(socket.send)
    socket.then = lambda: frames.send([b"late", b"r"])
    frames.send([b"first", b"second"])
    frames.send([b"next"])
    assert socket.pieces == [b"first", b"second", b"late", b"r", b"next"]


def test_after_a_frame_that_could_not_be_sent_the_next_one_is() -> None:
    def fail() -> None:
        raise ConnectionError

    socket = Socket()
    frames = Frames(socket.send)
    socket.then = fail
    try:
        frames.send([b"first"])
    except ConnectionError:
        frames.send([b"next"])
    assert socket.pieces == [b"first", b"next"]


def test_a_finaliser_and_a_thread_that_print_amid_a_frame_do_not_wait_for_each_other() -> None:
    said: list[dict[str, Any]] = []
    socket = Socket()
    frames = Frames(socket.send)

    def send(message: dict[str, Any]) -> None:
        said.append(message)
        frames.send([b"output"])

    outlet = Outlet(send, frames.lock)
    outlet.begin(1000)
    other = threading.Thread(target=outlet.write, args=("stdout", "thread\n"), daemon=True)

    def print_amid_the_frame() -> None:
        other.start()
        other.join(0.2)  # it has the lock of its printing, if that is another one
        outlet.write("stderr", "finaliser\n")

    socket.then = print_amid_the_frame
    sender = threading.Thread(target=frames.send, args=([b"call"],), daemon=True)
    sender.start()
    sender.join(PATIENCE_S)
    other.join(PATIENCE_S)
    assert not sender.is_alive()
    assert not other.is_alive()
    assert [message["parts"] for message in said] == [
        [["stderr", "finaliser\n"]],
        [["stdout", "thread\n"]],
    ]
    assert socket.pieces == [b"call", b"output", b"output"]
