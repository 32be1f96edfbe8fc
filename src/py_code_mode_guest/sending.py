"""Frames on their way out: whole, and one after the other, whoever sends them and when."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from py_code_mode_guest import interrupts


class Frames:
    """Sends frames through ``send``, which gets them piece by piece.

    Invariant: no thread, interrupt or finaliser tears a frame. Garbage is collected anywhere, also
    amid a frame of this very thread, and what is finalised may print: that goes after the frame.

    Whoever takes a lock of its own around sending shares ``lock`` instead: with two, a finaliser
    that prints amid a frame would wait for a thread that prints, and that one for the frame.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.lock = threading.RLock()
        self._send = send
        self._crowd = threading.RLock()
        self._pieces: deque[bytes] = deque()
        self._sender = 0  # the thread that sends

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send a frame; amid another one of this thread, leave that to whoever sends the other."""
        with interrupts.shield(), self.lock:
            self._pieces += pieces
            if self._sender:
                return
            self._sender = threading.get_ident()
            try:
                while self._pieces:
                    self._send(self._pieces.popleft())
            finally:
                self._sender = 0

    def send_one_of_many(self, pieces: Sequence[bytes]) -> None:
        """As ``send``, for threads that may be many: others wait for one of them at most."""
        if self._sender == threading.get_ident():  # a finaliser: the frame it met may not wait
            self.send(pieces)
            return
        with interrupts.shield(), self._crowd:
            self.send(pieces)
