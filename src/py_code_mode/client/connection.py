"""The way to one session server: connections, cookies, the token, and what may be sent again."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx2

from py_code_mode._version import __version__
from py_code_mode.client import answers
from py_code_mode.client.requests import Asked
from py_code_mode.errors import (
    CodeModeError,
    ConfigurationError,
    InvalidArgumentError,
    ServerUnreachableError,
)
from py_code_mode.text import one_line

#: Seconds before each further attempt.
_PAUSES_S: Final = (0.1, 0.5, 2.0)
#: An attempt that lasted so long was no failure to connect: attempts are counted anew after it.
_LASTING_S: Final = 10.0
_CONNECT_S: Final = 10.0
#: Servers and ingresses close what is idle for longer; so that it is never theirs that closes.
_KEEP_ALIVE_S: Final = 30.0
#: Nothing of the request has left this machine.
_UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_SILENT: Final = (httpx2.ReadTimeout, httpx2.WriteTimeout)
#: What a proxy answers for a server that it does not reach.
_GATEWAY: Final = frozenset({502, 503, 504})


class Connection:
    """Asks one server. Reads nothing of the environment: no proxy, no .netrc."""

    def __init__(self, url: str, token: str) -> None:
        """Raises ConfigurationError for a URL or a token that cannot work."""
        self.url = _checked_url(url)
        self._secret = _checked_token(token)
        transport = httpx2.AsyncHTTPTransport(
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=20,
                keepalive_expiry=_KEEP_ALIVE_S,
            ),
            socket_options=_keep_alive_options(),
        )
        self._client = httpx2.AsyncClient(
            transport=transport,
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": f"py-code-mode/{__version__}",
            },
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"<Connection to {self.url}>"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, asked: Asked) -> Any:
        """Return the JSON of the answer, None where it has no body.

        Raises:
            ServerUnreachableError: there is no server, or nobody knows what became of the request.
            ConfigurationError: the server redirects.
            CodeModeError: what the server says is wrong, of the class that its code stands for.
        """
        response = await self._send(asked, is_stream=False)
        return self._decoded(response) if response.content else None

    @asynccontextmanager
    async def streamed(self, asked: Asked) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Yield the events of an answer as they come, as kind and JSON. Raises as ``ask``."""
        response = await self._send(asked, is_stream=True)
        try:
            yield self._events(response)
        finally:
            await response.aclose()

    async def _send(self, asked: Asked, *, is_stream: bool) -> httpx2.Response:
        """Return an answer that is none of an error, after as many attempts as are safe."""
        content = _content(asked)
        give_up_at = time.monotonic() + asked.patience_s
        pauses = iter(_PAUSES_S)
        while True:
            started = time.monotonic()
            try:
                return await self._attempt(asked, content, is_stream=is_stream)
            except _Again as failure:
                now = time.monotonic()
                if now - started > _LASTING_S:
                    pauses = iter(_PAUSES_S)
                pause_s = next(pauses, None)
                if pause_s is None or now > give_up_at:
                    raise failure.error from failure.__cause__
                await asyncio.sleep(pause_s)

    async def _attempt(
        self, asked: Asked, content: bytes | None, *, is_stream: bool
    ) -> httpx2.Response:
        """Send once. Raises _Again for what may be sent once more, else what ``ask`` raises."""
        request = self._client.build_request(
            asked.method,
            self.url + asked.path,
            params=asked.params or None,
            content=content,
            headers=asked.headers,
            timeout=httpx2.Timeout(asked.patience_s, connect=_CONNECT_S, pool=None),
        )
        try:
            response = await self._client.send(request, stream=is_stream)
        except _UNSENT as failure:
            raise _Again(self._unreachable(failure)) from failure
        except httpx2.TransportError as failure:
            if asked.is_safe and not isinstance(failure, _SILENT):
                raise _Again(self._lost(failure)) from failure
            raise self._lost(failure) from failure
        if response.is_success:
            return response
        if is_stream:
            await response.aread()
        refusal = self._refusal(response)
        if refusal.code == "draining" or (asked.is_safe and refusal.code == "server_unreachable"):
            raise _Again(refusal)
        raise refusal

    async def _events(self, response: httpx2.Response) -> AsyncIterator[tuple[str, Any]]:
        kind = ""
        try:
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
        except httpx2.TransportError as failure:
            raise self._lost(failure) from failure
        except ValueError:
            raise self._no_server("an event that is not JSON") from None

    def _refusal(self, response: httpx2.Response) -> CodeModeError:
        if response.is_redirect:
            target = urlsplit(response.headers.get("Location", ""))
            return ConfigurationError(
                f"{self.url} redirects ({response.status_code}) to"
                f" {self._shown(_origin(target) + target.path)}; give SessionClient that address if"
                " it is right. Redirects are not followed, so that the token goes nowhere else"
            )
        try:
            problem = response.json()
            if "Retry-After" in response.headers:
                problem.setdefault("retry_after_s", float(response.headers["Retry-After"]))
            return answers.error(problem)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        if response.status_code in _GATEWAY:
            return ServerUnreachableError(
                f"the session server behind {self.url} does not answer: HTTP {response.status_code}"
            )
        return self._no_server(f"HTTP {response.status_code}: {response.text[:1000]}")

    def _decoded(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._no_server("an answer that is not JSON") from None

    def _unreachable(self, failure: Exception) -> ServerUnreachableError:
        return ServerUnreachableError(
            f"no session server can be reached at {self.url}: {self._reason(failure)}"
        )

    def _lost(self, failure: Exception) -> ServerUnreachableError:
        return ServerUnreachableError(
            f"the connection to {self.url} was lost ({self._reason(failure)}); nobody knows whether"
            " the server did what it was asked. A run with an execution_id is asked for again"
        )

    def _no_server(self, what: str) -> CodeModeError:
        return ConfigurationError(
            f"what answers at {self.url} is no session server: {self._shown(what)}"
        )

    def _reason(self, failure: Exception) -> str:
        return self._shown(f"{type(failure).__name__}: {failure}".removesuffix(": "))

    def _shown(self, text: str) -> str:
        return one_line(text.replace(self._secret.token, "***"))


class _Again(Exception):  # noqa: N818 - no failure yet
    """Raised for an attempt that may be made once more; else its error is told."""

    def __init__(self, error: CodeModeError) -> None:
        super().__init__()
        self.error = error


class _Secret:
    """Keeps a token out of every repr."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token


def _content(asked: Asked) -> bytes | None:
    """Return the bytes of the body. Raises InvalidArgumentError for what JSON cannot say."""
    if asked.body is None:
        return asked.content
    try:
        return json.dumps(asked.body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"an argument cannot be sent: {one_line(str(error))}") from error


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    problem = None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        problem = "must be like http://session-server or https://sessions.example:8080"
    elif "@" in parts.netloc:
        problem = "must have no user or password; the token is an argument of its own"
    elif parts.query or parts.fragment:
        problem = "must have no query and no fragment"
    if problem is not None:
        raise ConfigurationError(f"the URL of a session server {problem}")
    return f"{_origin(parts)}{parts.path.rstrip('/')}"


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


def _checked_token(token: str) -> _Secret:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            "auth_token must be the server's CONTAINER_AUTH_TOKEN: printable ASCII without spaces"
        )
    return _Secret(token)


def _keep_alive_options() -> list[tuple[int, int, int]]:
    """Return what lets the kernel notice within a minute that the other side is gone."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    wanted = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    for name, value in wanted:
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
