"""Being asked to end while there is nothing yet to end in order.

Process 1 of a container gets no signal that it has no handler for; the kernel drops it. So the
image starts us with these signals held, and a server answers from its first line on: at once here,
in order once it has an event loop.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

#: How an operator, a terminal or a container engine asks.
ASKED: Final = (signal.SIGTERM, signal.SIGINT)


def end_at_once() -> None:
    """End with exit code 0 when asked from now on, or if that was held; nothing is started yet."""
    for number in ASKED:
        signal.signal(number, lambda *_: os._exit(0))
    release()


def release() -> None:
    """Take the question from now on, also one that was held."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)


def hold() -> None:
    """Keep the question for the program that takes this one's place: exec forgets handlers."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
