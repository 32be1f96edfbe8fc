"""The routes of artifacts: values as JSON, bodies as they are, files streamed in and out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from py_code_mode.errors import ArtifactTooLargeError, InvalidArgumentError
from py_code_mode.json_values import from_json, to_json
from py_code_mode.server import schemas
from py_code_mode.server.core import Core
from py_code_mode.server.problems import InvalidRequestError
from py_code_mode.server.routes import call, plain_values
from py_code_mode.store.base import StoredArtifact
from py_code_mode.text import check_description

router = APIRouter(tags=["artifacts"])

_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}", re.ASCII)
_TEXT: Final = "; charset=utf-8"
#: What an agent saved is hostile: no browser shall run it.
_HOSTILE: Final = {"Content-Security-Policy": "sandbox; default-src 'none'"}

Flag = Annotated[str | None, Query()]


@router.get("/api/artifacts", response_model=list[schemas.Artifact])
async def list_artifacts(request: Request) -> Response:
    """Every artifact, without its data."""
    return JSONResponse(plain_values(await call(request, "artifacts", "list")))


@router.get("/api/artifacts/{name:path}", response_model=None)
async def get_artifact(
    request: Request, name: str, meta: Flag = None, raw: Flag = None
) -> Response:
    """The value itself; with ``?meta`` what is known of it, with ``?raw`` its bytes."""
    if meta is not None:
        return JSONResponse(plain_values(await call(request, "artifacts", "get", name=name)))
    core: Core = request.app.state.core
    if raw is None:
        await _check_size(core, name)
        return JSONResponse(to_json(await call(request, "artifacts", "load", name=name)))
    core.refuse_while_draining()
    return _Bytes(core, name)


class _Bytes(Response):
    """An artifact's bytes, in pieces; its body is open for as long as they are sent."""

    def __init__(self, core: Core, name: str) -> None:
        super().__init__()
        self._core = core
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them. Raises CodeModeError before anything is sent."""
        with self._core.working():
            async with self._core.transfers.sending(self._name) as (record, pieces):
                known = _MEDIA_TYPE.fullmatch(record.media_type.removesuffix(_TEXT))
                media_type = record.media_type if known else "application/octet-stream"
                headers = _raw_headers(record)
                answer = StreamingResponse(pieces, media_type=media_type, headers=headers)
                await answer(scope, receive, send)


def _raw_headers(record: StoredArtifact) -> dict[str, str]:
    file_name = quote(record.name.rpartition("/")[2])
    return {
        **_HOSTILE,
        "Content-Disposition": f"attachment; filename*=UTF-8''{file_name}",
        "Content-Length": str(record.size),
    }


async def _check_size(core: Core, name: str) -> None:
    """Refuse to make JSON of what could not have come as JSON: it would stop all others."""
    most = core.settings.max_body_bytes
    record = await core.store.artifacts.get(name)
    if record.size > most:
        raise ArtifactTooLargeError(
            f"the artifact has {record.size:,} bytes, and as JSON at most {most:,} are sent;"
            " get it with ?raw",
            max_bytes=most,
        )


@router.post("/api/artifacts", status_code=201, response_model=schemas.Artifact)
async def save_artifact(request: Request, artifact: schemas.ArtifactRequest) -> Response:
    """Save a value under a name, in place of what has that name."""
    try:
        data = from_json(artifact.data)
    except (ValueError, TypeError) as error:
        raise InvalidRequestError(f"data: {error}") from None
    except RecursionError:
        raise InvalidRequestError("data: it is nested too deeply") from None
    arguments: dict[str, Any] = {**artifact.model_dump(), "data": data}
    record = await call(request, "artifacts", "save", **arguments)
    return JSONResponse(plain_values(record), 201)


@router.put(
    "/api/artifacts/{name:path}",
    status_code=201,
    response_model=schemas.Artifact,
    openapi_extra={
        "requestBody": {
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_artifact(request: Request, name: str, description: str = "") -> Response:
    """Save a file under a name; its media type is the request's ``Content-Type``."""
    media_type = request.headers.get("content-type", "application/octet-stream").partition(";")[0]
    media_type = media_type.strip().lower()
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidArgumentError("Content-Type must be a media type, like text/csv")
    check_description(description)
    core: Core = request.app.state.core
    with core.working():
        async with core.transfers.receiving(_declared_size(request)):
            await core.store.artifacts.receive(
                name, request.stream(), media_type=media_type, description=description
            )
        record = await core.services.api.call("artifacts", "get", [], {"name": name})
    return JSONResponse(plain_values(record), 201)


def _declared_size(request: Request) -> int:
    """Return what the body has as the request says, 0 where it does not say."""
    given = request.headers.get("content-length", "")
    return int(given) if given.isdecimal() else 0


@router.delete("/api/artifacts/{name:path}", status_code=204)
async def delete_artifact(request: Request, name: str) -> Response:
    """Delete an artifact."""
    await call(request, "artifacts", "delete", name=name)
    return Response(status_code=204)
