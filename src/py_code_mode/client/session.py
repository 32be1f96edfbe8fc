"""``SessionClient``: a session on a server, with the methods of a local one."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from typing import Any, Final

from py_code_mode.client import answers
from py_code_mode.client.connection import Connection
from py_code_mode.client.operations import is_skill_path, request_of
from py_code_mode.client.requests import Asked
from py_code_mode.errors import (
    CodeModeError,
    ConfigurationError,
    InvalidArgumentError,
    ServerUnreachableError,
    SessionClosedError,
    SessionUnknownError,
)
from py_code_mode.models import Event, RunResult
from py_code_mode.sessions.doors import Doors
from py_code_mode.sessions.manager import check_session_id, new_session_id
from py_code_mode.store.names import skill_not_found

log = logging.getLogger(__name__)

#: How long a server may be silent about a run beyond its timeout: it may wait for others first.
#: A server that is gone is noticed by the kernel, within a minute.
_RUN_PATIENCE_S: Final = 3600.0
#: A stream has a line every 15 s.
_STREAM_PATIENCE_S: Final = 60.0
_END_S: Final = 5.0


class SessionClient(Doors):
    """A session on a session server; it has the methods of ``Session`` and gives the same values.

    Use it with ``async with``. Reads nothing from the environment. A session that it made is ended
    on exit; one whose id was given stays. What breaks a connection is tried again where that can
    do no harm, a few times; a run only with an ``execution_id``.

    Args:
        url: where the server is, like ``http://session-server``.
        auth_token: one of the server's ``CONTAINER_AUTH_TOKEN``; ``token`` is another name for it.
        session_id: the session; by default a new one, whose id cannot be guessed.
        timeout: of every run that is given none, in seconds; by default it is the server's.

    Example:
        >>> async with SessionClient("http://127.0.0.1:8080", auth_token=token) as session:
        ...     result = await session.run("1 + 1")
        >>> result.value
        2
    """

    def __init__(
        self,
        url: str,
        *,
        auth_token: str | None = None,
        token: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Prepare a client; nothing is sent before the first call.

        Raises:
            ConfigurationError, InvalidSessionIdError: for arguments that cannot work.
        """
        if (auth_token is None) == (token is None):
            raise ConfigurationError("SessionClient needs auth_token=…, the token of the server")
        self.session_id: str = check_session_id(session_id) if session_id else new_session_id()
        self._is_ours = session_id is None
        self._timeout = timeout
        self._connection = Connection(url, auth_token or token or "")
        self._state = "new"
        self._has_run = False

    async def __aenter__(self) -> SessionClient:
        if self._state != "new":
            raise SessionClosedError("a SessionClient is opened once; make another one")
        self._state = "open"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        try:
            if self._is_ours and self._has_run:
                await self._end()
        finally:
            self._state = "closed"
            await self._connection.aclose()

    def __repr__(self) -> str:
        return f"<SessionClient {self.session_id} on {self._connection.url}, {self._state}>"

    async def run(
        self, code: str, timeout: float | None = None, execution_id: str | None = None
    ) -> RunResult:
        """Run Python on the server and return what it came to; ``timeout`` in seconds.

        With an ``execution_id``, an id of yours for this run, a broken connection is made again
        and the answer waited for; the code runs once, whatever happens, and also when you ask
        again. Without one, a run ends with its connection.

        Raises:
            InvalidArgumentError, CodeTooLargeError, TimeoutTooLargeError: before anything runs.
            SessionBusyError, CapacityError: when there is no room now.
            ExecutionIdReusedError: the id stands for other code.
            ExecutionOutcomeUnknownError: the server that ran it is gone.
            ServerUnreachableError: nobody answers.
        """
        asked = self._execution(code, timeout, execution_id)
        return answers.result(await self._ask(asked))

    #: The name that the HTTP route has.
    execute = run

    async def stream(self, code: str, timeout: float | None = None) -> AsyncIterator[Event]:
        """Run Python and yield its events as they happen; the last one is ``result``.

        A consumer that stops early interrupts the run.
        """
        asked = self._execution(code, timeout, is_stream=True)
        async with self._opened().streamed(asked) as events:
            async for kind, data in events:
                yield answers.event(kind, data)
                if kind == "result":
                    return
        raise ServerUnreachableError("the server ended the stream before the run's result")

    async def interrupt(self) -> bool:
        """Stop the run under way as its deadline would; False when there is none."""
        try:
            answer = await self._ask(self._of_session("POST", "/interrupt", is_safe=False))
        except SessionUnknownError:
            return False
        return bool(answer["status"] == "interrupted")

    async def reset(self) -> None:
        """Clear the variables and the work folder; skills and artifacts stay."""
        try:
            await self._ask(self._of_session("POST", "/reset"))
        except SessionUnknownError:
            return

    async def info(self) -> dict[str, Any]:
        """Return what this session can do: tools, skills, packages, limits, sandbox in force."""
        answer: dict[str, Any] = await self._ask(Asked("GET", "/info"))
        return answer

    async def _call(self, namespace: str, operation: str, **arguments: Any) -> Any:
        connection = self._opened()
        name = arguments.get("name", "")
        by_name = (namespace, operation) in {("skills", "get"), ("skills", "delete")}
        if by_name and isinstance(name, str) and not is_skill_path(name):
            raise skill_not_found(name, [skill.name for skill in await self.list_skills()])
        asked, decoded = request_of(namespace, operation, arguments)
        return decoded(await connection.ask(asked))

    async def _ask(self, asked: Asked) -> Any:
        return await self._opened().ask(asked)

    def _execution(
        self,
        code: str,
        timeout: float | None,
        execution_id: str | None = None,
        *,
        is_stream: bool = False,
    ) -> Asked:
        self._opened()
        if not isinstance(code, str):
            raise InvalidArgumentError(f"code must be text, not {type(code).__name__}")
        body: dict[str, Any] = {"code": code}
        timeout = self._timeout if timeout is None else timeout
        if timeout is not None:
            body["timeout"] = _checked_timeout(timeout)
        if execution_id is not None:
            body["execution_id"] = execution_id
        headers = {"X-Session-ID": str(self.session_id)}
        if is_stream:
            headers["Accept"] = "text/event-stream"
        self._has_run = True
        return Asked(
            "POST",
            "/execute",
            body=body,
            headers=headers,
            is_safe=execution_id is not None,
            patience_s=_STREAM_PATIENCE_S if is_stream else _RUN_PATIENCE_S + (timeout or 0),
        )

    def _of_session(self, method: str, path: str, **how: Any) -> Asked:
        return Asked(method, path, headers={"X-Session-ID": self.session_id}, **how)

    async def _end(self) -> None:
        try:
            await self._ask(self._of_session("DELETE", "/session", patience_s=_END_S))
        except SessionUnknownError:
            pass
        except CodeModeError as error:
            log.warning("session %s was not ended: %s", self.session_id, error.message)

    def _opened(self) -> Connection:
        if self._state != "open":
            raise SessionClosedError(
                "this session is not open; use `async with SessionClient(...)`"
            )
        return self._connection


def _checked_timeout(timeout: object) -> float:
    """Return a number that a server can judge. Raises InvalidArgumentError."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidArgumentError(f"timeout must be a number of seconds, not {timeout!r}")
    if not math.isfinite(timeout) or timeout <= 0:
        raise InvalidArgumentError(f"timeout must be over 0 s, not {timeout!r}")
    return timeout
