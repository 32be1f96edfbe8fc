"""Frames on their way out: whole, and one after the other, whoever sends them and when."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from py_code_mode_guest.wire import LARGE


class Frames:
    """Sends frames through ``send``, which gets them piece by piece.

    Invariant: no thread or finaliser tears a frame, nor an interrupt, from which whoever sends is
    shielded. Garbage is collected anywhere, also amid a frame of this very thread, and what is
    finalised may print: that goes after the frame.

    Whoever takes a lock of its own around sending shares ``lock`` instead: with two, a finaliser
    that prints amid a frame would wait for a thread that prints, and that one for the frame.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.lock = threading.RLock()
        self._send = send
        self._crowd = threading.RLock()
        self._later: deque[bytes] = deque()
        self._sender = 0  # the thread that sends

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send a frame; amid another one of this thread, leave that to whoever sends the other."""
        with self.lock:
            if self._sender:
                self._later += pieces
                return
            self._sender = threading.get_ident()
            try:
                for piece in pieces:
                    self._send(piece)
                while self._later:
                    self._send(self._later.popleft())
            finally:
                self._sender = 0

    def send_one_of_many(self, pieces: Sequence[bytes]) -> None:
        """As ``send``, for threads that may be many: others wait for one large frame at most."""
        is_small = len(pieces) == 1 and len(pieces[0]) < LARGE
        # In a finaliser the frame that it met may not wait for a thread that waits for it.
        if is_small or self._sender == threading.get_ident():
            self.send(pieces)
            return
        with self._crowd:
            self.send(pieces)
