"""The routes beside ``/execute`` and artifacts: sessions, tools, skills, packages, the server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from py_code_mode.models import SessionId
from py_code_mode.server import metrics, schemas
from py_code_mode.server.core import Core
from py_code_mode.server.execute import session_of
from py_code_mode.server.problems import InvalidRequestError

router = APIRouter()
#: Routes that need no token.
open_router = APIRouter()

Limit = Annotated[int, Query(ge=1, le=1000)]
_OF_A_SESSION: Final = {"parameters": [schemas.session_header(required=True)]}


@open_router.get("/health", tags=["server"])
async def health(request: Request) -> schemas.Health:
    """The server's loop answers."""
    return schemas.Health(
        status="ok", uptime_seconds=round(time.monotonic() - _core(request).started_at, 3)
    )


@open_router.get("/ready", tags=["server"], responses={503: {"model": schemas.Ready}})
async def ready(request: Request) -> Response:
    """Whether the server can do its work: 200, or 503 with the reasons."""
    problems = await _core(request).problems()
    body = {
        "status": "not_ready" if problems else "ready",
        "reasons": list(problems),
        "detail": "; ".join(problems.values()),
    }
    return JSONResponse(body, 503 if problems else 200)


@router.get("/info", tags=["server"])
async def info(request: Request) -> schemas.Info:
    """What agent code can do here."""
    return schemas.Info(**await _core(request).info())


@router.get("/metrics", tags=["server"], response_class=Response)
async def figures(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(_core(request).metrics.text(), media_type=metrics.MEDIA_TYPE)


@router.post("/interrupt", tags=["sessions"], openapi_extra=_OF_A_SESSION)
async def interrupt(request: Request) -> schemas.SessionAnswer:
    """Stop the session's run as its deadline would."""
    session_id = _session(request)
    stopped = await _core(request).manager.interrupt(session_id)
    return schemas.SessionAnswer(status="interrupted" if stopped else "idle", session_id=session_id)


@router.post("/reset", tags=["sessions"], openapi_extra=_OF_A_SESSION)
async def reset(request: Request) -> schemas.SessionAnswer:
    """Clear the session's variables and its work folder."""
    session_id = _session(request)
    await _core(request).manager.reset(session_id)
    return schemas.SessionAnswer(status="reset", session_id=session_id)


@router.delete("/session", tags=["sessions"], openapi_extra=_OF_A_SESSION)
async def delete_session(request: Request) -> schemas.SessionAnswer:
    """End the session."""
    session_id = _session(request)
    await _core(request).manager.end(session_id)
    return schemas.SessionAnswer(status="deleted", session_id=session_id)


@router.get("/api/tools", tags=["tools"], response_model=list[schemas.Tool])
async def list_tools(request: Request) -> Response:
    """Every tool that can be used."""
    return await _answer(request, "tools", "list")


@router.get("/api/tools/search", tags=["tools"], response_model=list[schemas.Tool])
async def search_tools(request: Request, query: str, limit: Limit = 10) -> Response:
    """The tools that fit a query, best first."""
    return await _answer(request, "tools", "search", query=query, limit=limit)


@router.get("/api/skills", tags=["skills"], response_model=list[schemas.Skill])
async def list_skills(request: Request) -> Response:
    """Every skill."""
    return await _answer(request, "skills", "list")


@router.get("/api/skills/search", tags=["skills"], response_model=list[schemas.Skill])
async def search_skills(request: Request, query: str, limit: Limit = 10) -> Response:
    """The skills that fit a query, best first."""
    return await _answer(request, "skills", "search", query=query, limit=limit)


@router.get("/api/skills/{name}", tags=["skills"], response_model=schemas.Skill)
async def get_skill(request: Request, name: str, version: int | None = None) -> Response:
    """One skill with its source, by default its newest version."""
    return await _answer(request, "skills", "get", name=name, version=version)


@router.post("/api/skills", tags=["skills"], status_code=201, response_model=schemas.Skill)
async def create_skill(request: Request, skill: schemas.SkillRequest) -> Response:
    """Save a skill; one of this name is replaced only with ``overwrite``."""
    return await _answer(request, "skills", "create", 201, **skill.model_dump())


@router.delete("/api/skills/{name}", tags=["skills"], status_code=204)
async def delete_skill(request: Request, name: str) -> Response:
    """Remove a skill and its versions."""
    return await _done(request, "skills", "delete", name=name)


@router.get("/api/deps", tags=["packages"], response_model=list[str])
async def list_deps(request: Request) -> Response:
    """The stored package specs."""
    return await _answer(request, "deps", "list")


@router.post("/api/deps/add", tags=["packages"], status_code=201, response_model=list[str])
async def add_dep(request: Request, package: schemas.PackageRequest) -> Response:
    """Install a package and keep it in the list."""
    return await _answer(request, "deps", "add", 201, spec=package.package)


@router.post("/api/deps/remove", tags=["packages"], response_model=list[str])
async def remove_dep(request: Request, package: schemas.PackageRequest) -> Response:
    """Take a package off the list."""
    return await _answer(request, "deps", "remove", name=package.package)


@router.post("/api/deps/sync", tags=["packages"], response_model=list[str])
async def sync_deps(request: Request) -> Response:
    """Install what the list says; answers ``name==version`` of all that is installed."""
    return await _answer(request, "deps", "sync")


def _core(request: Request) -> Core:
    core: Core = request.app.state.core
    return core


def _session(request: Request) -> SessionId:
    session_id = session_of(request)
    if session_id is None:
        raise InvalidRequestError("the header X-Session-ID is missing")
    return session_id


async def call(request: Request, namespace: str, operation: str, **arguments: Any) -> Any:
    """Run an operation of a namespace as a client of the API."""
    core = _core(request)
    with core.working():
        return await core.services.api.call(namespace, operation, [], arguments)


async def _answer(
    request: Request, namespace: str, operation: str, status: int = 200, **arguments: Any
) -> Response:
    return JSONResponse(
        plain_values(await call(request, namespace, operation, **arguments)), status
    )


async def _done(request: Request, namespace: str, operation: str, **arguments: Any) -> Response:
    await call(request, namespace, operation, **arguments)
    return Response(status_code=204)


def plain_values(value: Any) -> Any:
    """Return records and lists of them as JSON values."""
    if isinstance(value, list):
        return [plain_values(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value
