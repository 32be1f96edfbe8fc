"""``POST /execute``: the hot path. Parsed and answered by hand; FastAPI knows its schema."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.json_values import result_to_json, to_json
from py_code_mode.models import Event, RunResult, SessionId
from py_code_mode.server.core import Core
from py_code_mode.server.problems import InvalidRequestError, problem
from py_code_mode.server.reading import invalid_request
from py_code_mode.server.schemas import ExecuteRequest
from py_code_mode.sessions.manager import check_session_id
from py_code_mode.workers import audit

log = logging.getLogger(__name__)

#: A client's connection is looked at only once a run has lasted so long.
_WATCH_AFTER_S: Final = 0.05
_KEEP_ALIVE_S: Final = 15.0
#: A stream begins after so long, if nothing happens before.
_REFUSED_WITHIN_S: Final = 0.1


async def execute(request: Request) -> Response:
    """Run code in a session; the answer is a run's result, or its events as they happen."""
    core: Core = request.app.state.core
    session_id = session_of(request)
    asked = _parsed(await request.body())
    if asked.execution_id is not None and session_id is None:
        raise InvalidRequestError("an execution_id is a session's: send the header X-Session-ID")
    run = partial(_run, core, session_id, asked, request.state.request_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        core.refuse_while_draining()
        return _EventStream(core, run)
    with core.working():
        if asked.execution_id is None:
            async with _watched(request):
                answer = await run()
        else:
            answer = await run()
    return Response(json.dumps(answer), media_type="application/json")


def session_of(request: Request) -> SessionId | None:
    """Return the session that a request names. Raises InvalidSessionIdError."""
    given = request.headers.get("x-session-id")
    return None if given is None else check_session_id(given)


async def _run(
    core: Core,
    session_id: SessionId | None,
    asked: ExecuteRequest,
    request_id: str,
    on_event: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Run once, and return the result as JSON values."""

    async def work() -> dict[str, Any]:
        with audit.labelled(request_id=request_id, execution_id=asked.execution_id):
            result = await core.manager.run(
                session_id, asked.code, timeout_s=asked.timeout, on_event=on_event
            )
        core.note(result)
        _log_run(result, asked, request_id)
        return result_to_json(result)

    if asked.execution_id is None or session_id is None:
        return await work()
    return await core.executions.run(session_id, asked.execution_id, asked.code, work)


def _parsed(body: bytes) -> ExecuteRequest:
    try:
        return ExecuteRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error) from None


def _log_run(result: RunResult, asked: ExecuteRequest, request_id: str) -> None:
    if log.isEnabledFor(logging.INFO):
        log.info(
            "run",
            extra={
                "request_id": request_id,
                "session_id": result.session_id,
                "execution_id": asked.execution_id,
                "generation": result.state.generation,
                "error_type": result.error_type,
                "lost": result.state.lost,
                "ms": result.execution_time_ms,
            },
        )


@asynccontextmanager
async def _watched(request: Request) -> AsyncIterator[None]:
    """Cancel what this task does, and so interrupt its run, when the client goes away."""
    task = asyncio.current_task()
    watch: asyncio.Task[None] | None = None

    async def until_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if task is not None:
            task.cancel()

    def start() -> None:
        nonlocal watch
        watch = asyncio.get_running_loop().create_task(until_gone())

    timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, start)
    try:
        yield
    except asyncio.CancelledError:
        if watch is None or not watch.done():
            raise  # by somebody else
        raise ClientDisconnect from None
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()


class _EventStream(Response):
    """A run as server-sent events: what it prints, calls and shows, and last its ``result``."""

    media_type = "text/event-stream"

    def __init__(self, core: Core, run: Callable[..., Any]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._core = core
        self._start = run
        self._events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the run has ended; a client that goes away interrupts it.

        What is refused before anything runs is answered as it is without events.
        """
        with self._core.working():
            run = asyncio.ensure_future(self._run())
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                first = await self._next(gone, _REFUSED_WITHIN_S)
                if first is not None and first[0] == "error":
                    await first[1](scope, receive, send)
                    return
                head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(head)
                await self._send_events(send, gone, first)
            finally:
                gone.cancel()
                run.cancel()
                await asyncio.gather(run, gone, return_exceptions=True)

    async def _run(self) -> None:
        try:
            answer = await self._start(on_event=self._take)
            self._events.put_nowait(("result", answer))
        except CodeModeError as error:
            self._core.note_error(error)
            self._events.put_nowait(("error", problem(error)))
        except Exception:
            log.exception("a streamed run failed")
            failure = problem(InternalError("the run failed inside the server; its log says why"))
            self._events.put_nowait(("error", failure))

    def _take(self, event: Event) -> None:
        self._events.put_nowait((event.kind, to_json(event.data)))

    async def _next(self, gone: asyncio.Future[Any], timeout_s: float) -> tuple[str, Any] | None:
        """Return the next event; None where none comes in time, or the client is gone."""
        event = asyncio.ensure_future(self._events.get())
        await asyncio.wait({event, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if event.done():
            return event.result()
        event.cancel()
        return None

    async def _send_events(
        self, send: Send, gone: asyncio.Future[Any], event: tuple[str, Any] | None
    ) -> None:
        kind = ""
        while not gone.done():
            text = ": still running\n\n"
            if event is not None:
                kind, data = event
                shown = bytes(data.body).decode() if kind == "error" else json.dumps(data)
                text = f"event: {kind}\ndata: {shown}\n\n"
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            if kind in ("result", "error"):
                await send({"type": "http.response.body", "body": b""})
                return
            event = await self._next(gone, _KEEP_ALIVE_S)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
