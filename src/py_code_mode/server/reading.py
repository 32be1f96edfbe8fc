"""Reading requests: bodies against their schemas, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from py_code_mode.errors import CodeModeError
from py_code_mode.server.problems import InvalidJSONError, InvalidRequestError
from py_code_mode.text import one_line

_MOST = 20


def invalid_request(error: ValidationError) -> CodeModeError:
    """Return what is wrong with a body, without what it said."""
    return from_errors(error.errors(include_url=False, include_input=False, include_context=False))


def from_errors(errors: Sequence[Mapping[str, Any]]) -> CodeModeError:
    """Return what is wrong, as pydantic or FastAPI tells it."""
    if any(str(each["type"]).startswith("json_") for each in errors):
        return InvalidJSONError(f"the body is not JSON: {one_line(str(errors[0]['msg']))}")
    places = [
        {"where": _path(each["loc"]), "problem": one_line(str(each["msg"]))}
        for each in errors[:_MOST]
    ]
    told = "; ".join(f"{each['where']}: {each['problem']}" for each in places)
    return InvalidRequestError(told, errors=places)


def _path(location: Iterable[Any]) -> str:
    return one_line(".".join(map(str, location))) or "body"
