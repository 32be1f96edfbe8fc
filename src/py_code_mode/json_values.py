"""A run's values as JSON and back: the one place that knows the ``$type`` forms.

JSON has no bytes, NaN or infinities; they travel as ``{"$type": "bytes", "base64": …}`` and
``{"$type": "float", "value": "nan"}``, and an artifact's table or image as
``{"$type": "blob", "media_type": …, "base64": …}``. A dict that itself has a key ``$type`` travels
as ``{"$type": "dict", "items": [[k, v], …]}``, so that nothing an agent returns is misread.
"""

from __future__ import annotations

import base64
import math
from typing import Any, Final

from py_code_mode.models import Blob, RunResult

_TYPE: Final = "$type"


def to_json(value: Any) -> Any:
    """Return a value of a RunResult in JSON types alone; ``from_json`` gives it back equal."""
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        if _TYPE in value:
            return {_TYPE: "dict", "items": [[k, to_json(v)] for k, v in value.items()]}
        return {name: to_json(item) for name, item in value.items()}
    return _scalar_to_json(value)


def from_json(value: Any) -> Any:
    """Return what ``to_json`` was given. Raises ValueError for an unknown ``$type``."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TYPE in value:
        return _typed_from_json(value)
    return {name: from_json(item) for name, item in value.items()}


def _scalar_to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_TYPE: "bytes", "base64": _base64(value)}
    if isinstance(value, Blob):
        return {_TYPE: "blob", "media_type": value.media_type, "base64": _base64(value.body)}
    if isinstance(value, float) and not math.isfinite(value):
        return {_TYPE: "float", "value": repr(value)}
    return value


def _typed_from_json(value: dict[str, Any]) -> Any:
    match value:
        case {"$type": "bytes", "base64": str(text)}:
            return base64.b64decode(text, validate=True)
        case {"$type": "blob", "media_type": str(media_type), "base64": str(text)}:
            return Blob(media_type, base64.b64decode(text, validate=True))
        case {"$type": "float", "value": str(text)}:
            return float(text)
        case {"$type": "dict", "items": list(items)}:
            return {k: from_json(v) for k, v in items}
    raise ValueError(f"unknown $type {value[_TYPE]!r}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def result_to_json(result: RunResult) -> dict[str, Any]:
    """Return a RunResult as the JSON object that HTTP and ``--json`` answer with."""
    return {
        "value": to_json(result.value),
        "stdout": result.stdout,
        "stderr": result.stderr,
        "error": result.error,
        "error_type": result.error_type,
        "is_ok": result.is_ok,
        "execution_time_ms": result.execution_time_ms,
        "session_id": result.session_id,
        "displays": to_json(result.displays),
        "state": {
            "generation": result.state.generation,
            "lost": result.state.lost,
            "durable": result.state.durable,
            "not_restored": result.state.not_restored,
        },
        "truncated": result.truncated,
    }
