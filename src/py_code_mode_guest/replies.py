"""What waits for the host: a call for its reply, and a call too many for another's."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any


class Reply:
    """Something that is waited for, by a thread (``wakeup``) or by a coroutine (``future``)."""

    __slots__ = ("done", "frame", "future", "loop", "wakeup")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.done = False
        self.frame: dict[str, Any] = {}
        self.loop = loop
        self.future: asyncio.Future[None] | None = loop.create_future() if loop else None
        self.wakeup = threading.Lock()
        self.wakeup.acquire()


class Places:
    """So many calls at once; who comes later gets the place of one that was answered, in order.

    A call keeps its place until the host has replied, whoever still waits for that.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Reply] = deque()
        self._lock = threading.RLock()  # what is finalised while it is held may call

    def take(self, loop: asyncio.AbstractEventLoop | None = None) -> Reply | None:
        """Take a place (None), or return what is done once there is one."""
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            self._waiting.append(Reply(loop))
            return self._waiting[-1]

    def give_back(self) -> Reply | None:
        """Free a place; returns who waited longest, and has it now."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None

    def leave(self, ticket: Reply) -> bool:
        """Wait no more; False where ``ticket`` has a place already, which is to be given back."""
        with self._lock:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True
