"""HTTP off the wire: uvicorn's protocol, with bounds on what comes before anybody has a token."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from py_code_mode.server.problems import MEDIA_TYPE, STATUS, problem_body

#: A request's line and headers have so many bytes at most, and one more piece of what was read.
MAX_HEAD_BYTES: Final = 64 * 1024
#: They must be there so long after their first byte, or after the connection was made.
HEAD_TIMEOUT_S: Final = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The parser alone keeps whatever comes, for as long as it comes."""

    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head or not self._head_bytes or self.transport.is_closing():
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse("headers_too_large", f"headers may have {MAX_HEAD_BYTES:,} bytes")
        elif self._head_timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._in_head = True
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked for another protocol."""

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_time_over)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_time_over(self) -> None:
        if self._is_answering():
            self._start_timer()  # it may not have been read, for the answer before it
            return
        self._refuse("request_timeout", f"the headers did not come within {HEAD_TIMEOUT_S:g} s")

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, code: str, detail: str) -> None:
        status = HTTPStatus(STATUS[code])
        body = json.dumps(problem_body(status, code, detail)).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        if not self._is_answering():
            self.transport.write(head.encode() + body)
        self.transport.close()
