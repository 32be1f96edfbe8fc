"""The application: routes behind the guard, errors as problems, and the core behind both."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from py_code_mode._version import __version__
from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.server import artifacts, routes, schemas
from py_code_mode.server.core import Core
from py_code_mode.server.execute import execute
from py_code_mode.server.guard import Guard
from py_code_mode.server.problems import MEDIA_TYPE, http_problem, problem
from py_code_mode.server.reading import from_errors
from py_code_mode.settings import Settings

log = logging.getLogger(__name__)

_ABOUT = """\
Sessions for LLM agents that write Python. Everything but `/health` and `/ready` needs
`Authorization: Bearer <token>`. Errors are `application/problem+json` with a stable `code`."""


class _App(FastAPI):
    """The application with the guard before all of it, the framework's own layers included."""

    guard: Guard | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self.guard is None or scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self.guard(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that the guard let through.

        The body of a POST is JSON whatever it is called: curl calls it a form, and no browser sends
        tokens.
        """
        if scope.get("method") == "POST":
            headers = [each for each in scope["headers"] if each[0] != b"content-type"]
            scope = {**scope, "headers": headers}
        await super().__call__(scope, receive, send)


def create_app(settings: Settings, core: Core | None = None) -> FastAPI:
    """Return the server's application; its parts start with the lifespan, unless given a core.

    Raises:
        ConfigurationError: the settings cannot work, such as none for the token.
    """
    core = core or Core(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with core.opened():
            yield

    # Its documents are behind the token, as everything is.
    app = _App(
        title="py-code-mode",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        strict_content_type=False,
        redirect_slashes=False,  # a redirect would name whatever host the request names
    )
    app.state.core = core
    _add_routes(app)
    _handle_errors(app, core)
    app.guard = Guard(
        app.answer,
        tokens=settings.tokens,
        body_limit=lambda method, path: _body_limit(settings, method, path),
        note=core.metrics.note_request,
        # By far the most requests: what FastAPI does for them is only to tell their schema.
        direct={("POST", "/execute"): execute},
        explain=partial(_explained, core),
    )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI) -> None:
    problems: dict[int | str, dict[str, Any]] = {
        "default": {"model": schemas.Problem, "description": "What went wrong"}
    }
    app.include_router(routes.open_router)
    app.include_router(routes.router, responses=problems)
    app.include_router(artifacts.router, responses=problems)
    app.add_api_route(
        "/execute",
        execute,
        methods=["POST"],
        tags=["sessions"],
        response_model=None,
        responses={200: {"model": schemas.ExecuteAnswer}, **problems},
        openapi_extra=_EXECUTE_SCHEMA,
    )


def _body_limit(settings: Settings, method: str, path: str) -> int:
    if method == "PUT" and path.startswith("/api/artifacts/"):
        return settings.max_artifact_bytes
    return settings.max_body_bytes


def _explained(core: Core, error: Exception) -> Response:
    """Return the answer that an error is; what nobody foresaw goes to the log alone."""
    if not isinstance(error, CodeModeError):
        log.error("a request failed", exc_info=error)
        error = InternalError("the request failed inside the server; its log says why")
    core.note_error(error)
    return problem(error)


def _handle_errors(app: FastAPI, core: Core) -> None:
    async def explained(_request: Request, error: Exception) -> Response:
        return _explained(core, error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        return problem(from_errors(error.errors()))

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        return http_problem(error)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_exception_handler(CodeModeError, explained)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, explained)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=_ABOUT, routes=app.routes
        )
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        for path in ("/health", "/ready"):
            made["paths"][path]["get"]["security"] = []
        for operations in made["paths"].values():
            for operation in operations.values():
                _as_problem(operation["responses"])
        app.openapi_schema = made
    return app.openapi_schema


def _as_problem(responses: dict[str, Any]) -> None:
    """Say of errors that they are problems; FastAPI's own shape of a 422 is never sent."""
    responses.pop("422", None)
    if "default" in responses:
        content = responses["default"]["content"]
        responses["default"]["content"] = {MEDIA_TYPE: content.pop("application/json")}


_EXECUTE_SCHEMA = {
    "summary": "Run code in a session",
    "parameters": [schemas.session_header(required=False)],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": schemas.ExecuteRequest.model_json_schema()}},
    },
}
