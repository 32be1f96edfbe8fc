"""Errors as HTTP answers: ``application/problem+json`` with a stable ``code``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from py_code_mode import errors
from py_code_mode.errors import CodeModeError

MEDIA_TYPE: Final = "application/problem+json"

#: The status of every code that an answer can have; docs/reference/http.md has the same table.
STATUS: Final[Mapping[str, int]] = {
    "artifact_not_found": 404,
    "artifact_too_large": 413,
    "artifact_type": 422,
    "artifact_unavailable": 503,
    "body_too_large": 413,
    "capacity": 429,
    "code_too_large": 413,
    "dep_install": 422,
    "dep_not_found": 404,
    "draining": 503,
    "execution_id_reused": 409,
    "execution_outcome_unknown": 409,
    "headers_too_large": 431,
    "internal_error": 500,
    "invalid_argument": 422,
    "invalid_artifact_name": 422,
    "invalid_dep": 422,
    "invalid_json": 400,
    "invalid_request": 422,
    "invalid_session_id": 422,
    "invalid_skill": 422,
    "method_not_allowed": 405,
    "not_available": 501,
    "not_found": 404,
    "request_timeout": 408,
    "runtime_deps_disabled": 403,
    "sandbox_unavailable": 503,
    "search_unavailable": 503,
    "session_busy": 409,
    "session_closed": 409,
    "session_unknown": 404,
    "skill_exists": 409,
    "skill_not_found": 404,
    "skill_protected": 403,
    "skill_writes_disabled": 403,
    "storage_full": 507,
    "storage_unavailable": 503,
    "timeout_too_large": 422,
    "tool_error": 422,
    "tool_not_found": 404,
    "unauthorized": 401,
    "unknown_operation": 404,
    "worker_start": 503,
}
#: What every problem has; the fields of an error are further members.
_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "code", "headers"})
#: Answers of these are worth another try, after so many seconds.
_RETRY_AFTER_S: Final = {"capacity": 5, "draining": 5, "storage_unavailable": 2, "worker_start": 2}


class BodyTooLargeError(CodeModeError):
    """Raised when a request's body is over the limit."""

    code = "body_too_large"


class RequestTimeoutError(CodeModeError):
    """Raised when a request's body does not come."""

    code = "request_timeout"


class InvalidJSONError(CodeModeError):
    """Raised when a body is not JSON."""

    code = "invalid_json"


class InvalidRequestError(CodeModeError):
    """Raised when a body or a query has the wrong shape; ``errors`` says where."""

    code = "invalid_request"
    errors: list[dict[str, str]]


def problem(error: CodeModeError) -> Response:
    """Return the answer that an error is."""
    status = STATUS.get(error.code, 500)
    fields = {name: value for name, value in error.fields.items() if name not in _MEMBERS}
    headers = {}
    if error.code in _RETRY_AFTER_S:
        after = error.fields.get("retry_after_s", _RETRY_AFTER_S[error.code])
        headers["Retry-After"] = str(math.ceil(float(after)))
    return problem_response(status, error.code, error.message, headers=headers, **fields)


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Response:
    """Return an answer of RFC 9457."""
    body = json.dumps(problem_body(status, code, detail, **fields))
    return Response(body, status, headers, MEDIA_TYPE)


def problem_body(status: int, code: str, detail: str, **fields: Any) -> dict[str, Any]:
    """Return what an answer of RFC 9457 says."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **fields,
    }


def http_problem(error: HTTPException) -> Response:
    """Return what the framework refused (an unknown path, a wrong method) as a problem."""
    if isinstance(error.__cause__, CodeModeError):  # what reading the body met
        return problem(error.__cause__)
    code, detail = _REFUSED.get(error.status_code, ("invalid_request", str(error.detail)))
    return problem_response(error.status_code, code, detail, headers=error.headers)


_REFUSED: Final = {
    400: ("invalid_json", "the body is not JSON, or nested too deeply"),
    404: ("not_found", "there is no such path; /openapi.json has all there are"),
    405: ("method_not_allowed", "this path does not take this method"),
}


def known_codes() -> frozenset[str]:
    """Return the code of every error of ours that can reach a client."""
    return frozenset(getattr(errors, name).code for name in errors.__all__)
