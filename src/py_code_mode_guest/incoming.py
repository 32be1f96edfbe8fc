"""What the host sends, as frames; also where a session has no memory left for one.

No byte of the stream may be lost, and nobody who reads it may fail: it may be read for somebody
else, or between two pieces of a frame that is sent. A frame that finds no memory is passed over,
and what is left of it says so.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgpack

from py_code_mode_guest.wire import HEADER

_CHUNK: Final = 256 * 1024
#: Of a frame that is passed over: enough for what comes first in it, and is wanted all the same.
_HEAD_BYTES: Final = 1024
_WANTED: Final = ("type", "id", "packages")
#: In such a frame.
LACKS_MEMORY: Final = "lacks_memory"

Frame = dict[str, Any]


class Incoming:
    """The frames of one socket. ``make_room`` frees what was set aside, where memory is short."""

    def __init__(self, sock: socket.socket, ext_hook: Any, make_room: Callable[[], None]) -> None:
        self._sock = sock
        self._ext_hook = ext_hook
        self._make_room = make_room
        # Made once: what is received goes here also where nothing more can be had.
        # Mapped, so that it costs no page before it is used.
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._chunk = memoryview(mmap.mmap(-1, _CHUNK, flags=private))
        self._received = bytearray()
        self._head = b""  # the beginning of a frame that is passed over, its header included
        self._passed_over = 0  # bytes still to come of a frame that is

    def frames(self) -> Iterable[Frame]:
        """Receive what is there, without waiting; returns the frames that are whole by it."""
        news = self._receive()
        # By far the most are one frame: nothing before it, nothing after it.
        at_a_frame = not (self._received or self._passed_over) and len(news) > HEADER.size
        if at_a_frame and HEADER.size + HEADER.unpack_from(news)[0] == len(news):
            return (self._unpacked(news[HEADER.size :]),)
        return self._in_order(news)

    def _in_order(self, news: memoryview) -> Iterator[Frame]:
        if self._passed_over:
            news = self._pass_over(news)
            if not self._passed_over:
                yield _lacking(self._head[HEADER.size :])
        while not self._append(news):
            news = self._begin_passing_over(news)
            if not self._passed_over:
                yield _lacking(self._head[HEADER.size :])
        while (frame := self._next_frame()) is not None:
            yield frame

    def _receive(self) -> memoryview:
        try:
            count = self._sock.recv_into(self._chunk, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self._chunk[:0]
        except ConnectionError:
            count = 0
        if not count:
            os._exit(0)  # the host is gone, and with it every reason to live
        return self._chunk[:count]

    def _append(self, news: memoryview) -> bool:
        for _ in range(2):
            try:
                self._received += news
            except MemoryError:
                self._make_room()
            else:
                return True
        return False

    def _begin_passing_over(self, news: memoryview) -> memoryview:
        """Pass over the frame that comes first; returns what of ``news`` comes after it."""
        known = len(self._received)
        begin = bytes(self._received[: HEADER.size + _HEAD_BYTES])
        header = begin + bytes(news[: HEADER.size])
        self._passed_over = HEADER.size + HEADER.unpack_from(header)[0] - known
        self._head = begin
        self._received = bytearray()
        return self._pass_over(news)

    def _pass_over(self, news: memoryview) -> memoryview:
        passed = min(self._passed_over, len(news))
        self._passed_over -= passed
        missing = HEADER.size + _HEAD_BYTES - len(self._head)
        if missing > 0:
            self._head += bytes(news[: min(missing, passed)])
        return news[passed:]

    def _next_frame(self) -> Frame | None:
        received = self._received
        if len(received) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(received)[0]
        if len(received) < end:
            return None
        with memoryview(received)[HEADER.size : end] as body:
            frame = self._unpacked(body)
        del received[:end]
        return frame

    def _unpacked(self, body: memoryview) -> Frame:
        for _ in range(2):
            try:
                frame: Frame = msgpack.unpackb(body, ext_hook=self._ext_hook, strict_map_key=True)
            except MemoryError:
                self._make_room()
            else:
                return frame
        return _lacking(bytes(body[:_HEAD_BYTES]))


def _lacking(head: bytes) -> Frame:
    """Return what is wanted of a frame that begins so, and that it was passed over."""
    unpacker = msgpack.Unpacker(max_buffer_size=_HEAD_BYTES)
    unpacker.feed(head)
    unpacker.read_map_header()
    frame: Frame = {LACKS_MEMORY: True}
    with contextlib.suppress(msgpack.OutOfData):
        while (name := unpacker.unpack()) in _WANTED:
            frame[name] = unpacker.unpack()
    return frame
