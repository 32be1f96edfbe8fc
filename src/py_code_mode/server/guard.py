"""What stands before every route: who asks, how much may come in, and what is said of it all.

Written against ASGI itself: it runs before anything of a request's body is read.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from py_code_mode.server.problems import (
    BodyTooLargeError,
    RequestTimeoutError,
    problem,
    problem_response,
)
from py_code_mode.text import one_line

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/health", "/ready"})
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: Ids of requests that bring none: names, not secrets.
_PROCESS: Final = secrets.token_hex(4)
_ids: Final = itertools.count(1)
#: A wrong token is answered this late; of so many that wait, further ones are answered at once.
_DELAY_S: Final = 0.5
_MOST_DELAYED: Final = 64
#: A body whose next piece takes longer is not waited for.
_PIECE_S: Final = 60.0
_NO_SNIFFING: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)

#: The largest body of a request: of its method and path.
BodyLimit = Callable[[str, str], int]
Handler = Callable[[Request], Awaitable[Response]]


class Guard:
    """Checks the token, bounds the body, names the request, counts the answer.

    ``direct`` are handlers that are called without the framework around them, by method and path;
    ``explain`` makes an answer of what they raise.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Sequence[str],
        body_limit: BodyLimit,
        note: Callable[[int], None],
        direct: Mapping[tuple[str, str], Handler],
        explain: Callable[[Exception], Response],
    ) -> None:
        self._app = app
        self._explain = explain
        self._direct = direct
        self._tokens = [token.encode() for token in tokens]
        self._body_limit = body_limit
        self._note = note
        self._delayed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send, self._body_limit)
        started = time.perf_counter()
        try:
            if scope["path"] not in OPEN_PATHS and not self._is_known(
                request.header(b"authorization")
            ):
                await self._refuse(request)
            elif request.declared_size > request.limit:
                await request.refuse_body()
            else:
                await self._pass_on(scope, request)
        finally:
            self._note(request.status)
            log.debug(
                "request",
                extra={
                    "request_id": request.id,
                    "method": scope["method"],
                    "path": one_line(scope["path"]),
                    "status": request.status,
                    "ms": round((time.perf_counter() - started) * 1000, 3),
                },
            )

    async def _pass_on(self, scope: Scope, request: _Request) -> None:
        handler = self._direct.get((scope["method"], scope["path"]))
        if handler is None:
            await self._app(scope, request.receive, request.send)
            return
        try:
            answer = await handler(Request(scope, request.receive, request.send))
        except ClientDisconnect:
            return  # nobody reads what would be answered
        except Exception as error:  # noqa: BLE001 - this is the door
            answer = self._explain(error)
        await request.answer(answer)

    def _is_known(self, header: bytes) -> bool:
        scheme, _, given = header.partition(b" ")
        given = given.strip()
        # Every token is compared, each in constant time: nothing is learned from how long it took.
        right = [hmac.compare_digest(given, token) for token in self._tokens]
        return any(right) and scheme.lower() == b"bearer"

    async def _refuse(self, request: _Request) -> None:
        """Answer late, without a word of what was wrong; whoever has the token never waits."""
        if self._delayed < _MOST_DELAYED:
            self._delayed += 1
            try:
                await asyncio.sleep(_DELAY_S)
            finally:
                self._delayed -= 1
        detail = "send the server's token: `Authorization: Bearer <CONTAINER_AUTH_TOKEN>`"
        headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
        await request.answer(problem_response(401, "unauthorized", detail, headers=headers))


class _Request:
    """One request on its way through: its names, its size, its answer's status."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limit: BodyLimit) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = dict(scope["headers"])
        self._read = 0
        self._whole = False
        self.limit = body_limit(scope["method"], scope["path"])
        self.status = 0
        given = self.header(b"x-request-id")
        self.id = given.decode() if _REQUEST_ID.fullmatch(given) else f"{_PROCESS}-{next(_ids):x}"
        scope.setdefault("state", {})["request_id"] = self.id

    def header(self, name: bytes) -> bytes:
        """Return a header, empty where it is missing."""
        value: bytes = self._headers.get(name, b"")
        return value

    @property
    def declared_size(self) -> int:
        """What the request says that its body has, in bytes; 0 where it does not say."""
        size = self.header(b"content-length")
        return int(size) if size.isdigit() else 0

    async def receive(self) -> Message:
        """Return the next piece of the body, and once it is whole wait for the client to go.

        Raises BodyTooLargeError, RequestTimeoutError.
        """
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(_PIECE_S):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeoutError(f"nothing of the body came for {_PIECE_S:g} s") from None
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            self._read += len(message.get("body", b""))
            if self._read > self.limit:
                raise BodyTooLargeError(_too_large(self.limit))
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer, with what every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self.id.encode()), *_NO_SNIFFING]
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse_body(self) -> None:
        """Answer 413 without reading what comes."""
        response = problem(BodyTooLargeError(_too_large(self.limit)))
        response.headers["Connection"] = "close"
        await self.answer(response)

    async def answer(self, response: ASGIApp) -> None:
        """Send a whole answer."""
        await response(self._scope, self._receive, self.send)


def _too_large(limit: int) -> str:
    return (
        f"the body has more than the {limit:,} bytes that it may; send large data with"
        " PUT /api/artifacts/{name}, or in parts"
    )
