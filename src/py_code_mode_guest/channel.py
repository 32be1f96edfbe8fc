"""The guest's end of the wire: one socket, and calls that overlap.

Any thread may call the host, and so may coroutines; replies come in any order. There is no reader
thread: whoever waits first *leads*, reads for everybody, and hands the lead on when its own reply
is there. A session that makes one call at a time therefore pays for no thread switch.

A host reads no more from a guest that does not read it, so whoever sends reads as well where it
would otherwise wait. Nor does it while too many calls are under way, so that more wait here, where
they can be interrupted, and the end of a run passes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from py_code_mode_guest import interrupts, packages
from py_code_mode_guest.incoming import Incoming
from py_code_mode_guest.replies import Places, Reply
from py_code_mode_guest.sending import Frames
from py_code_mode_guest.wire import MAX_CALLS, pack, pack_call

#: How long a sender leaves the reading to somebody who may have stopped.
_LOOK_AGAIN_MS: Final = 10


class Channel:
    """One guest's connection to the host; safe to use from any thread and event loop."""

    def __init__(self, sock: socket.socket, ext_hook: Any, make_room: Callable[[], None]) -> None:
        """``make_room`` frees what was set aside, where memory is short."""
        self._sock = sock
        self._incoming = Incoming(sock, ext_hook, make_room)
        self._poll, self._room, self._either = select.poll(), select.poll(), select.poll()
        self._poll.register(sock, select.POLLIN)
        self._room.register(sock, select.POLLOUT)
        self._either.register(sock, select.POLLIN | select.POLLOUT)
        self._places = Places(MAX_CALLS)
        self._frames = Frames(self._send)
        self.send_lock = self._frames.lock
        self._lock = threading.RLock()  # guards everything below; what is finalised may call
        self._leader: Reply | None = None
        self._followers: set[Reply] = set()
        self._calls: dict[int, Reply] = {}
        self._next_id = 0
        self._commands: deque[dict[str, Any]] = deque()
        self._command = Reply()
        # These mark the lead while an event loop reads, and while a sender does.
        self._loop_turn, self._send_turn = Reply(), Reply()
        self._watching: dict[asyncio.AbstractEventLoop, int] = {}

    def send(self, message: dict[str, Any]) -> None:
        """Send one frame, whole."""
        with interrupts.shield():
            self._frames.send([pack(message)])

    def next_command(self) -> dict[str, Any]:
        """Wait for the host's next ``open`` or ``run``; ends the process when the host is gone."""
        while not self._commands:
            self._command.done = False
            self._wait(self._command)
        return self._commands.popleft()

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a ``call`` and return the host's ``reply`` frame; an interrupt ends the wait."""
        with interrupts.shield():
            ticket = self._places.take()
            if ticket is not None:
                self._wait_for_place(ticket)
            reply = Reply()
            call_id = self._begin(message, reply)
            try:
                self._wait(reply)
            finally:
                self._calls.pop(call_id, None)
        return reply.frame

    async def call_async(self, message: dict[str, Any]) -> dict[str, Any]:
        """As ``call``, without blocking the running event loop; cancelled, it is undone there."""
        loop = asyncio.get_running_loop()
        with interrupts.shield():
            ticket = self._places.take(loop)
            self._watch(loop, +1)
        try:
            if ticket is not None:
                await self._place_for(ticket)
            reply = Reply(loop)
            with interrupts.shield():
                call_id = self._begin(message, reply)
            await self._answer_to(call_id, reply)
        finally:
            with interrupts.shield():
                self._watch(loop, -1)
        return reply.frame

    def _begin(self, message: dict[str, Any], reply: Reply) -> int:
        """Send a call that has a place; returns its id. One that cannot be sent gives it back.

        Called shielded.
        """
        with self._lock:
            self._next_id += 1
            call_id = self._next_id
            self._calls[call_id] = reply
        try:
            frame = pack_call({**message, "type": "call", "id": call_id})
            self._frames.send_one_of_many(frame)
        except BaseException:
            self._calls.pop(call_id, None)
            self._give_place_back()
            raise
        return call_id

    def _wait_for_place(self, ticket: Reply) -> None:
        try:
            self._wait(ticket)
        except BaseException:
            if not self._places.leave(ticket):
                self._give_place_back()
            raise

    async def _place_for(self, ticket: Reply) -> None:
        assert ticket.future is not None  # noqa: S101 - made for a loop
        try:
            await ticket.future
        except BaseException:
            with interrupts.shield():
                if not self._places.leave(ticket):
                    self._give_place_back()
            raise

    async def _answer_to(self, call_id: int, reply: Reply) -> None:
        assert reply.future is not None  # noqa: S101 - made for a loop
        try:
            await reply.future
        except asyncio.CancelledError:
            if not reply.done:
                self.send({"type": "cancel", "id": call_id})
            raise
        finally:
            self._calls.pop(call_id, None)

    def _give_place_back(self) -> None:
        ticket = self._places.give_back()
        if ticket is not None:
            self._finish(ticket, {})

    def _send(self, piece: bytes) -> None:
        sent = self._send_some(piece)
        if sent == len(piece):  # by far the most
            return
        with memoryview(piece) as rest:
            while sent < len(rest):
                self._wait_for_room()
                sent += self._send_some(rest[sent:])

    def _send_some(self, piece: bytes | memoryview) -> int:
        try:
            return self._sock.send(piece, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _wait_for_room(self) -> None:
        """Wait until more can be sent. The host may first want what it sent to be read."""
        with self._lock:
            leading = self._leader is None
            if leading:
                self._leader = self._send_turn
        if not leading:  # somebody reads, and may stop doing so
            self._room.poll(_LOOK_AGAIN_MS)
            return
        try:
            if self._either.poll()[0][1] & select.POLLIN:
                self._read()
        finally:
            self._step_down(self._send_turn)

    def _wait(self, reply: Reply) -> None:
        """Lead or follow until ``reply`` is done; called shielded or from the main loop."""
        while True:
            with self._lock:
                if reply.done:
                    return
                leading = self._leader is None
                if leading:
                    self._leader = reply
                else:
                    self._followers.add(reply)
            try:
                if leading:
                    self._lead(reply)
                else:
                    interrupts.interruptible(reply.wakeup.acquire)
            finally:
                self._step_down(reply)

    def _step_down(self, reply: Reply) -> None:
        """Leave the lead or the queue for it, and see that somebody leads."""
        with self._lock:
            if self._leader is reply:
                self._leader = None
            self._followers.discard(reply)
            if self._leader is None and self._followers:
                self._wake(next(iter(self._followers)))

    def _wake(self, follower: Reply) -> None:
        self._followers.discard(follower)
        if follower.wakeup.locked():
            follower.wakeup.release()

    def _lead(self, reply: Reply) -> None:
        while not reply.done:
            # Wait where an interrupt may end it; read where it may not.
            interrupts.interruptible(self._poll.poll)
            self._read()

    def _read(self) -> None:
        """Read what is there, and never wait: agent code may have taken it meanwhile."""
        for frame in self._incoming.frames():
            self._dispatch(frame)

    def _dispatch(self, frame: dict[str, Any]) -> None:
        if "packages" in frame:  # in the order of the frames, whoever waits for them
            packages.use(frame["packages"])
        if frame["type"] != "reply":
            self._commands.append(frame)
            self._finish(self._command, frame)
            return
        reply = self._calls.pop(frame["id"], None)
        if reply is not None:  # else its caller was interrupted and is gone
            self._finish(reply, frame)
        self._give_place_back()

    def _finish(self, reply: Reply, frame: dict[str, Any]) -> None:
        with self._lock:
            reply.frame = frame
            reply.done = True
            if reply in self._followers:
                self._wake(reply)
        if reply.loop is not None and reply.future is not None:
            with contextlib.suppress(RuntimeError):  # its loop was closed: nobody waits any more
                reply.loop.call_soon_threadsafe(_resolve, reply.future)

    def _watch(self, loop: asyncio.AbstractEventLoop, change: int) -> None:
        """Let ``loop`` read for its own coroutines while any of them waits."""
        count = self._watching.get(loop, 0) + change
        if count == 0:
            self._watching.pop(loop, None)
            if not loop.is_closed():
                loop.remove_reader(self._sock)
            return
        self._watching[loop] = count
        if count == 1 and change == 1:
            loop.add_reader(self._sock, self._read_for_loop)

    def _read_for_loop(self) -> None:
        turn = self._loop_turn
        with interrupts.shield():
            with self._lock:
                if self._leader is not None:
                    return  # a thread leads: it reads for this loop too
                self._leader = turn
            try:
                self._read()
            finally:
                self._step_down(turn)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
