"""The guest's end of the wire: one socket, length-prefixed msgpack frames, calls that overlap.

A frame is a 4-byte little-endian length and a msgpack map with a ``type``. Guest to host:
``ready``, ``call``, ``output``, ``display``, ``done``. Host to guest: ``open``, ``run``, ``reply``.

Any thread may call the host, and so may coroutines; replies come in any order. There is no reader
thread: whoever waits first *leads*, reads for everybody, and hands the lead on when its own reply
is there. A session that makes one call at a time therefore pays for no thread switch.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
import threading
from collections import deque
from typing import Any, Final

import msgpack

from py_code_mode_guest import interrupts, packages

#: The largest frame either side accepts, in bytes.
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
#: The largest argument that is a list or dict: each byte of it may cost the host 70 of memory.
MAX_STRUCTURE_BYTES: Final = 2 * 1024 * 1024
#: msgpack extension types: an integer over 64 bits; a read-only record; bytes with a media type.
EXT_INTEGER: Final = 1
EXT_RECORD: Final = 2
EXT_BLOB: Final = 3

HEADER: Final = struct.Struct("<I")
#: An argument of more bytes is sent as it is; until then a mark of so many stands for it.
_LARGE: Final = 256 * 1024
_MARK_BYTES: Final = 16
#: How msgpack begins a mark, and the bytes that it stands for.
_BIN8: Final = bytes([0xC4, _MARK_BYTES])
_BIN32: Final = struct.Struct(">BI")
_CHUNK: Final = 256 * 1024


def pack(message: Any) -> bytes:
    """Return the frame of a message, header included. Raises ValueError when it is too large."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"{len(body):,} bytes are over the frame limit of {MAX_FRAME_BYTES:,}")
    return HEADER.pack(len(body)) + body


def pack_pieces(call: dict[str, Any]) -> list[bytes]:
    """Return the frame of a call in pieces, of which large arguments are some as they are.

    Packing would copy them three times. Raises ValueError when the frame is too large.
    """
    large: list[tuple[bytes, bytes]] = []

    def without_large(value: Any) -> Any:
        if type(value) is not bytes or len(value) < _LARGE:
            return value
        large.append((os.urandom(_MARK_BYTES), value))
        return large[-1][0]

    args = [without_large(value) for value in call["args"]]
    kwargs = {name: without_large(value) for name, value in call["kwargs"].items()}
    if not large:
        return [pack(call)]
    rest = msgpack.packb({**call, "args": args, "kwargs": kwargs}, use_bin_type=True)
    pieces: list[bytes] = []
    for mark, body in large:  # in the order of the arguments, as packed
        before, _, rest = rest.partition(_BIN8 + mark)
        pieces += [before + _BIN32.pack(0xC6, len(body)), body]
    pieces.append(rest)
    size = sum(map(len, pieces))
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"{size:,} bytes are over the frame limit of {MAX_FRAME_BYTES:,}")
    return [HEADER.pack(size) + pieces[0], *pieces[1:]]


def pack_blob(media_type: str, body: bytes) -> bytes:
    """Return the data of a blob extension: one length byte, the media type, the body."""
    name = media_type.encode("ascii")
    return bytes([len(name)]) + name + body


def unpack_blob(data: bytes) -> tuple[str, bytes]:
    """Return media type and body. Raises ValueError for anything malformed."""
    if not data or len(data) < 1 + data[0]:
        raise ValueError("a malformed blob")
    return data[1 : 1 + data[0]].decode("ascii"), data[1 + data[0] :]


class Reply:
    """A call that waits for its answer, of a thread (``wakeup``) or of a coroutine (``future``)."""

    __slots__ = ("done", "frame", "future", "loop", "wakeup")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.done = False
        self.frame: dict[str, Any] = {}
        self.loop = loop
        self.future: asyncio.Future[None] | None = loop.create_future() if loop else None
        self.wakeup = threading.Lock()
        self.wakeup.acquire()


class Channel:
    """One guest's connection to the host; safe to use from any thread and event loop."""

    def __init__(self, sock: socket.socket, ext_hook: Any) -> None:
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._ext_hook = ext_hook
        self._received = bytearray()
        self._send_lock = threading.Lock()
        self._lock = threading.Lock()  # guards everything below
        self._leader: Reply | None = None
        self._followers: set[Reply] = set()
        self._calls: dict[int, Reply] = {}
        self._next_id = 0
        self._commands: deque[dict[str, Any]] = deque()
        self._command = Reply()
        self._loop_turn = Reply()  # marks the lead while an event loop reads
        self._watching: dict[asyncio.AbstractEventLoop, int] = {}

    def send(self, message: dict[str, Any]) -> None:
        """Send one frame. Invariant: an interrupt never tears a frame."""
        pieces = [pack(message)] if message["type"] != "call" else pack_pieces(message)
        with interrupts.shield(), self._send_lock:
            for piece in pieces:
                self._sock.sendall(piece)

    def next_command(self) -> dict[str, Any]:
        """Wait for the host's next ``open`` or ``run``; ends the process when the host is gone."""
        while not self._commands:
            self._command.done = False
            self._wait(self._command)
        return self._commands.popleft()

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a ``call`` and return the host's ``reply`` frame; an interrupt ends the wait."""
        with interrupts.shield():
            reply = Reply()
            call_id = self._register(reply)
            try:
                self.send({**message, "type": "call", "id": call_id})
                self._wait(reply)
            finally:
                self._calls.pop(call_id, None)
        return reply.frame

    async def call_async(self, message: dict[str, Any]) -> dict[str, Any]:
        """As ``call``, without blocking the running event loop."""
        loop = asyncio.get_running_loop()
        reply = Reply(loop)
        assert reply.future is not None  # noqa: S101 - made by Reply for a loop
        with interrupts.shield():
            call_id = self._register(reply)
            self._watch(loop, +1)
        try:
            self.send({**message, "type": "call", "id": call_id})
            await reply.future
        finally:
            with interrupts.shield():
                self._watch(loop, -1)
                self._calls.pop(call_id, None)
        return reply.frame

    def _register(self, reply: Reply) -> int:
        with self._lock:
            self._next_id += 1
            self._calls[self._next_id] = reply
            return self._next_id

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
        try:
            data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            os._exit(0)  # the host is gone, and with it every reason to live
        self._received += data
        while (frame := self._next_frame()) is not None:
            self._dispatch(frame)

    def _next_frame(self) -> dict[str, Any] | None:
        received = self._received
        if len(received) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(received)[0]
        if len(received) < end:
            return None
        with memoryview(received)[HEADER.size : end] as body:
            frame: dict[str, Any] = msgpack.unpackb(
                body, ext_hook=self._ext_hook, strict_map_key=True
            )
        del received[:end]
        return frame

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

    def _finish(self, reply: Reply, frame: dict[str, Any]) -> None:
        with self._lock:
            reply.frame = frame
            reply.done = True
            if reply in self._followers:
                self._wake(reply)
        if reply.loop is not None and reply.future is not None:
            reply.loop.call_soon_threadsafe(_resolve, reply.future)

    def _watch(self, loop: asyncio.AbstractEventLoop, change: int) -> None:
        """Let ``loop`` read for its own coroutines while any of them waits."""
        count = self._watching.get(loop, 0) + change
        if count == 0:
            self._watching.pop(loop, None)
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
