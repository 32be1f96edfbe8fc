"""The calls of one guest: done side by side, bounded, and ended with the run that made them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.models import Event
from py_code_mode.workers import frames
from py_code_mode.workers.authority import Authority
from py_code_mode.workers.turn import Turn

log = logging.getLogger(__name__)

#: Calls of one guest that are under way at once; more of them wait.
_PARALLEL: Final = 32
#: Bytes of large arguments that one guest's calls hold before no more calls are read.
_MOST_BYTES: Final = 64 * 1024 * 1024


class Calls:
    """Answers a guest's calls with the authority that it was given.

    ``write`` sends a frame unless the guest is gone; ``full`` is told when no more calls are to be
    read, and when they are again.
    """

    def __init__(
        self, most: int, *, write: Callable[[bytes], None], full: Callable[[bool], None]
    ) -> None:
        self.authority: Authority | None = None
        #: Cleared while the guest does not read its answers: nothing more is done for it then.
        self.writable = asyncio.Event()
        self.writable.set()
        self._most = most
        self._write = write
        self._full = full
        self._places = asyncio.Semaphore(_PARALLEL)
        self._under_way: set[asyncio.Task[None]] = set()
        self._held_bytes = 0
        self._told = ""  # the folder of packages that the guest knows of

    def start(self, call: frames.Call, turn: Turn | None) -> None:
        """Do what a call asks for, on behalf of the run under way."""
        context = None if turn is None else turn.context
        task = asyncio.get_running_loop().create_task(self._answer(call, turn), context=context)
        self._under_way.add(task)
        call_id, size = call.id, _large_bytes(call)  # and not the call, which would live as long
        self._held_bytes += size
        task.add_done_callback(lambda ended: self._ended(ended, call_id, size))
        if self._is_full():
            self._full(True)  # noqa: FBT003 - one word either way

    def end(self) -> None:
        """End what is under way; whoever waits for it is answered."""
        for task in self._under_way:
            task.cancel()

    def news(self) -> str | None:
        """Return the folder of packages where the guest has not been told of it, else None."""
        if self.authority is None or self.authority.packages() == self._told:
            return None
        return self.authority.packages()

    def told(self, packages: str | None) -> None:
        """Note that what ``news`` returned is on its way."""
        if packages is not None:
            self._told = packages

    def _is_full(self) -> bool:
        return len(self._under_way) >= self._most or self._held_bytes > _MOST_BYTES

    def _ended(self, task: asyncio.Task[None], call_id: int, size: int) -> None:
        self._under_way.discard(task)
        self._held_bytes -= size
        if task.cancelled():
            # A thread may still wait for it, and would for ever.
            self._write(
                frames.error_frame(call_id, InternalError("the run of this call has ended"))
            )
        if not self._is_full():
            self._full(False)  # noqa: FBT003 - one word either way

    async def _answer(self, call: frames.Call, turn: Turn | None) -> None:
        async with self._places:
            if not self.writable.is_set():
                await self.writable.wait()
            started = time.perf_counter()
            answer = await self._outcome(call, turn)
            if not self.writable.is_set():
                await self.writable.wait()
        status = self._reply(call.id, answer)
        name = self._event_name(call)
        if turn is not None and name is not None:
            ms = round((time.perf_counter() - started) * 1000, 3)
            turn.emit(Event("tool_call", {"name": name, "status": status, "ms": ms}))

    def _event_name(self, call: frames.Call) -> str | None:
        if self.authority is None:
            return None
        return self.authority.event_name(call.namespace, call.operation, call.kwargs)

    def _reply(self, call_id: int, answer: Any) -> str:
        """Send a value or an error; returns which of them it was."""
        if not isinstance(answer, CodeModeError):
            news = self.news()
            try:
                self._write(frames.reply_frame(call_id, answer, packages=news))
            except Exception:
                log.exception("an answer could not be sent")
                answer = InternalError("the call failed inside the host; its log says why")
            else:
                self.told(news)
                return "ok"
        self._write(frames.error_frame(call_id, answer))
        return "error"

    async def _outcome(self, call: frames.Call, turn: Turn | None) -> Any:
        """Return what the call came to, an error as well."""
        if self.authority is None or turn is None:
            return InternalError("no run is under way, so nothing can be called")
        try:
            return await self.authority.call(call.namespace, call.operation, call.args, call.kwargs)
        except CodeModeError as error:
            return error
        except Exception:
            log.exception("the answer to %s.%s failed", call.namespace, call.operation)
            return InternalError("the call failed inside the host; its log says why")


def _large_bytes(call: frames.Call) -> int:
    """Return the size of the arguments that are one text or bytes; structures are never large."""
    values = (*call.args, *call.kwargs.values())
    return sum(len(value) for value in values if isinstance(value, (str, bytes)))
