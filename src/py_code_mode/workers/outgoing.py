"""Frames for a guest: the namespaces it is opened with, a run, and the answers to its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack

from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.models import Blob, Record
from py_code_mode_guest.wire import EXT_BLOB, EXT_INTEGER, EXT_RECORD, pack, pack_blob


def run_frame(
    run_id: int, code: str, name: str, max_output_bytes: int, *, packages: str | None = None
) -> bytes:
    """Return the frame that starts a run; ``packages`` is a folder that the guest uses from now."""
    run = {"id": run_id, "code": code, "name": name, "max_output_bytes": max_output_bytes}
    return _frame("run", run, packages)


def open_frame(namespaces: Mapping[str, Any]) -> bytes:
    """Return the frame that tells a fresh guest what its namespaces offer."""
    return pack({"type": "open", "namespaces": dict(namespaces)})


def reply_frame(call_id: int, value: Any, *, packages: str | None = None) -> bytes:
    """Return the frame that answers a call. Raises ValueError when the value is too large."""
    return _frame("reply", {"id": call_id, "value": _encode(value)}, packages)


def _frame(kind: str, fields: dict[str, Any], packages: str | None) -> bytes:
    news = {} if packages is None else {"packages": packages}
    return pack({"type": kind, **fields, **news})


def error_frame(call_id: int, error: CodeModeError) -> bytes:
    """Return the frame that raises ``error`` in agent code."""
    described = {
        "type": type(error).__name__,
        "message": error.message,
        "fields": {name: _encode(value) for name, value in error.fields.items()},
    }
    try:
        return pack({"type": "reply", "id": call_id, "error": described})
    except (TypeError, ValueError):
        return error_frame(call_id, InternalError("the answer to this call could not be sent"))


def _encode(value: Any) -> Any:
    """Return a service's value for msgpack: records, blobs and long integers as extensions."""
    if type(value) in _AS_THEY_ARE:  # by far the most
        return value
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {name: _encode(item) for name, item in value.items()}
    return _extension(value)


def _extension(value: Any) -> Any:
    if isinstance(value, Record):
        body = {name: _encode(getattr(value, name)) for name in value}
        return msgpack.ExtType(EXT_RECORD, msgpack.packb(body))
    if isinstance(value, Blob):
        return msgpack.ExtType(EXT_BLOB, pack_blob(value.media_type, value.body))
    if isinstance(value, int) and not -(1 << 63) <= value < (1 << 63):
        size = value.bit_length() // 8 + 1
        return msgpack.ExtType(EXT_INTEGER, value.to_bytes(size, "big", signed=True))
    return value


_AS_THEY_ARE: Final = frozenset({str, bytes, float, bool, type(None)})
