"""The calls of one guest: done side by side, bounded, and ended with the run that made them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.models import Event
from py_code_mode.workers import frames, outgoing
from py_code_mode.workers.authority import Authority
from py_code_mode.workers.memory import LARGE, Memory
from py_code_mode.workers.turn import Turn
from py_code_mode_guest.wire import MAX_CALLS

log = logging.getLogger(__name__)

#: Bytes of arguments that one guest's calls hold before no more calls are read.
_MOST_BYTES: Final = 8 * 1024 * 1024
#: What the host holds of a large answer until it is on its way: as the store gave it, and packed.
_COPIES: Final = 2


class Calls:
    """Answers a guest's calls with the authority that it was given.

    ``write`` sends a frame unless the guest is gone; ``writable`` is cleared while it does not read
    what it was sent; ``full`` is told when no more calls are to be read, and when they are again.
    """

    def __init__(
        self,
        most: int,
        memory: Memory,
        *,
        write: Callable[[bytes], None],
        writable: asyncio.Event,
        full: Callable[[bool], None],
    ) -> None:
        self.authority: Authority | None = None
        self._writable = writable
        self._most = most
        self._memory = memory
        self._write = write
        self._full = full
        self._places = asyncio.Semaphore(MAX_CALLS)
        self._large_answer = asyncio.Lock()
        self._under_way: dict[asyncio.Task[None], int] = {}  # the ids of their calls
        self._held_bytes = 0
        self._told = ""  # the folder of packages that the guest knows of

    def start(self, call: frames.Call, turn: Turn | None) -> None:
        """Do what a call asks for, on behalf of the run under way."""
        context = None if turn is None else turn.context
        task = asyncio.get_running_loop().create_task(self._answer(call, turn), context=context)
        self._under_way[task] = call.id
        call_id, weight = call.id, call.weight  # and not the call, which would live as long
        self._held_bytes += weight
        if weight > LARGE:
            self._memory.take(weight)
        task.add_done_callback(lambda ended: self._ended(ended, call_id, weight))
        if self._is_full():
            self._full(True)  # noqa: FBT003 - one word either way

    def cancel(self, call_id: int) -> None:
        """End a call whose answer nobody waits for any more; there may be none."""
        for task, one in self._under_way.items():
            if one == call_id:
                task.cancel()

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

    def _ended(self, task: asyncio.Task[None], call_id: int, weight: int) -> None:
        self._under_way.pop(task, None)
        self._held_bytes -= weight
        if weight > LARGE:
            self._memory.give_back(weight)
        if task.cancelled():
            # A thread may still wait for it, and would for ever.
            self._write(
                outgoing.error_frame(call_id, InternalError("this call was given up, or its run"))
            )
        if not self._is_full():
            self._full(False)  # noqa: FBT003 - one word either way

    async def _answer(self, call: frames.Call, turn: Turn | None) -> None:
        room = _Room(self._memory, self._large_answer)
        try:
            async with self._places:
                if not self._writable.is_set():
                    await self._writable.wait()
                started = time.perf_counter()
                answer = await self._outcome(call, turn, room)
                if not self._writable.is_set():
                    await self._writable.wait()
                    # What the guest has sent meanwhile is read first, or it would wait for all of
                    # many large answers.
                    await asyncio.sleep(0)
            status = self._reply(call.id, answer)
        finally:
            room.close()
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
                for piece in outgoing.reply_frame(call_id, answer, packages=news):
                    self._write(piece)
            except Exception:
                log.exception("an answer could not be sent")
                answer = InternalError("the call failed inside the host; its log says why")
            else:
                self.told(news)
                return "ok"
        self._write(outgoing.error_frame(call_id, answer))
        return "error"

    async def _outcome(self, call: frames.Call, turn: Turn | None, room: _Room) -> Any:
        """Return what the call came to, an error as well."""
        if self.authority is None or turn is None:
            return InternalError("no run is under way, so nothing can be called")
        try:
            return await self.authority.call(
                call.namespace, call.operation, call.args, call.kwargs, room=room.take
            )
        except CodeModeError as error:
            return error
        except Exception:
            log.exception("the answer to %s.%s failed", call.namespace, call.operation)
            return InternalError("the call failed inside the host; its log says why")


class _Room:
    """The memory of one call's answer, where that is large: a guest has one such at a time."""

    __slots__ = ("_lock", "_memory", "_size")

    def __init__(self, memory: Memory, lock: asyncio.Lock) -> None:
        self._memory = memory
        self._lock = lock
        self._size: int | None = None

    async def take(self, size: int) -> None:
        """Wait until there is memory for an answer of ``size`` bytes; for one answer of a call."""
        self.close()
        await self._lock.acquire()
        try:
            await self._memory.room(_COPIES * size)
        except BaseException:
            self._lock.release()
            raise
        self._size = _COPIES * size

    def close(self) -> None:
        """Give it back."""
        if self._size is not None:
            self._memory.give_back(self._size)
            self._lock.release()
            self._size = None
