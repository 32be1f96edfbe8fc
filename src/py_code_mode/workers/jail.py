"""The host's side of a session's jail: send a program in, get its end back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import msgpack

from py_code_mode.errors import WorkerStartError
from py_code_mode.models import Program, ProgramEnd
from py_code_mode_guest.wire import HEADER, pack

log = logging.getLogger(__name__)

#: A jail that has not answered this long after a program's time was up has failed itself.
_ANSWER_S: Final = 5.0
#: Programs of one session that run at once; more wait, without their time running.
_PARALLEL: Final = 32
#: What an answer has beside the output.
_REST_BYTES: Final = 64 * 1024


class JailProcess(asyncio.Protocol):
    """One jail process: programs side by side, each ended by its own time-out."""

    def __init__(self, jail_id: int, worker_id: int, send_signal: Callable[[int], None]) -> None:
        self.id = jail_id
        self.worker_id = worker_id
        self.pid = 0
        self._send_signal = send_signal
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ends: dict[int, asyncio.Future[ProgramEnd]] = {}
        #: Bytes of output by request, also of one that was given up, until its answer has come.
        self._allowed: dict[int, int] = {}
        self._ids = itertools.count(1)
        self._received = bytearray()
        self._gone = False

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return not self._gone

    async def ready(self) -> None:
        """Wait until programs can be started. Raises WorkerStartError."""
        await self._ready

    async def run(self, program: Program) -> ProgramEnd:
        """Run a program to its end; a cancelled caller ends it. Raises WorkerStartError."""
        request_id = next(self._ids)
        future: asyncio.Future[ProgramEnd] = self._loop.create_future()
        self._ends[request_id] = future
        self._allowed[request_id] = program.max_output_bytes
        self._transport.write(_spawn_frame(request_id, program))
        timer = self._loop.call_later(program.timeout_s + _ANSWER_S, self._silent, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not self._transport.is_closing():
                self._transport.write(pack({"type": "cancel", "id": request_id}))
            raise
        finally:
            timer.cancel()
            self._ends.pop(request_id, None)

    def _silent(self, future: asyncio.Future[ProgramEnd]) -> None:
        self.kill()
        if not future.done():
            error = WorkerStartError("the session's jail did not answer and was ended")
            future.set_exception(error)

    def kill(self) -> None:
        """End the process; its zygote then ends every program that it left."""
        self._send_signal(signal.SIGKILL)

    def on_exit(self) -> None:
        """The process has ended: whoever waits for a program is told."""
        if self._gone:
            return
        self._gone = True
        gone = WorkerStartError("the session's jail ended while the program ran")
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._ends.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(gone)
        # Nobody may be waiting for it any more.
        with contextlib.suppress(WorkerStartError, asyncio.CancelledError):
            self._ready.exception()
        if hasattr(self, "_transport"):
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # every loop has its own class
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self.kill()
        self.on_exit()

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            most = max(self._allowed.values(), default=0) + _REST_BYTES
            while (message := _take_message(self._received, most)) is not None:
                self._take(message)
        except ValueError as error:
            # A program of the session's uid may have got at its jail: trust it no further.
            log.warning("jail %d sent %s: killed", self.id, error)
            self._received.clear()
            self._transport.abort()

    def _take(self, message: Any) -> None:
        match message:
            case {"type": "ended", "id": int(request_id), **fields}:
                self._allowed.pop(request_id, None)
                future = self._ends.get(request_id)
                end = _program_end(fields)
                if future is not None and not future.done():
                    future.set_result(end)
            case {"type": "ready"}:
                if not self._ready.done():
                    self._ready.set_result(None)
            case {"type": "failed", "reason": str(reason)}:
                if not self._ready.done():
                    self._ready.set_exception(WorkerStartError(f"no jail: {reason}"))
            case _:
                raise ValueError("a message of an unknown shape")


class SessionJail:
    """A session's jail, started with its first program and again should it die."""

    def __init__(self, start: Callable[[], Awaitable[JailProcess]]) -> None:
        self._start = start
        self._starting = asyncio.Lock()
        self._places = asyncio.Semaphore(_PARALLEL)
        self._process: JailProcess | None = None
        self._users = 0
        self._last_used = time.monotonic()

    @property
    def idle_s(self) -> float:
        """The seconds since the last program ended; 0 while one runs."""
        return 0.0 if self._users else time.monotonic() - self._last_used

    @property
    def process(self) -> JailProcess | None:
        """The process, where one was started."""
        return self._process

    async def run(self, program: Program) -> ProgramEnd:
        """Run a program to its end. Raises WorkerStartError."""
        self._users += 1
        try:
            async with self._places:
                process = await self._started()
                return await process.run(program)
        finally:
            self._users -= 1
            self._last_used = time.monotonic()

    async def warm(self) -> None:
        """Start the process ahead of need. Raises WorkerStartError."""
        self._last_used = time.monotonic()
        await self._started()

    def end(self) -> None:
        """End the process; the next program starts another."""
        if self._process is not None and self._process.alive:
            self._process.kill()

    async def _started(self) -> JailProcess:
        async with self._starting:
            if self._process is None or not self._process.alive:
                self._process = await self._start()
            return self._process


def _spawn_frame(request_id: int, program: Program) -> bytes:
    return pack(
        {
            "type": "spawn",
            "id": request_id,
            "argv": list(program.argv),
            "env": dict(program.env),
            "stdin": program.stdin,
            "timeout_s": program.timeout_s,
            "max_output_bytes": program.max_output_bytes,
            "network": program.network,
            "ports": None if program.ports is None else list(program.ports),
        }
    )


def _take_message(received: bytearray, most: int) -> Any:
    if len(received) < HEADER.size:
        return None
    size: int = HEADER.unpack_from(received)[0]
    if size > most:
        raise ValueError(f"a frame of {size:,} bytes")
    end = HEADER.size + size
    if len(received) < end:
        return None
    try:
        message = msgpack.unpackb(bytes(memoryview(received)[HEADER.size : end]))
    except Exception as error:  # noqa: BLE001 - whatever the parser raises, the frame is bad
        raise ValueError(f"an unreadable frame ({type(error).__name__})") from None
    del received[:end]
    return message


def _program_end(fields: dict[Any, Any]) -> ProgramEnd:
    match fields:
        case {
            "exit_code": int() | None as exit_code,
            "stdout": bytes(stdout),
            "stderr": bytes(stderr),
            "timed_out": bool(timed_out),
            "truncated": bool(truncated),
            "reason": str(reason),
        }:
            return ProgramEnd(exit_code, stdout, stderr, timed_out, truncated, reason)
    raise ValueError("a malformed end of a program")
