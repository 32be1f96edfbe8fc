"""Frames for a guest: the namespaces it is opened with, a run, and the answers to its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.models import Blob, Record
from py_code_mode_guest.wire import (
    EXT_BLOB,
    EXT_INTEGER,
    EXT_RECORD,
    LARGE,
    Large,
    blob_head,
    bytes_head,
    pack,
    pack_around,
    pack_blob,
)


def run_frame(
    run_id: int, code: str, name: str, max_output_bytes: int, *, packages: str | None = None
) -> bytes:
    """Return the frame that starts a run; ``packages`` is a folder that the guest uses from now."""
    run = {"code": code, "name": name, "max_output_bytes": max_output_bytes}
    return pack(_message("run", run_id, run, packages))


def open_frame(namespaces: Mapping[str, Any]) -> bytes:
    """Return the frame that tells a fresh guest what its namespaces offer."""
    return pack({"type": "open", "namespaces": dict(namespaces)})


def reply_frame(call_id: int, value: Any, *, packages: str | None = None) -> list[bytes]:
    """Return the frame that answers a call, in pieces, of which a large value is one as it is.

    Raises ValueError when the value is too large, TypeError for one that has no form on the wire.
    """
    large = _large(value)
    if not large:  # by far the most
        return [pack(_message("reply", call_id, {"value": value}, packages), _extension)]
    answer = {"value": large[0].mark}
    return pack_around(_message("reply", call_id, answer, packages), large, _extension)


def error_frame(call_id: int, error: CodeModeError) -> bytes:
    """Return the frame that raises ``error`` in agent code."""
    described = {"type": type(error).__name__, "message": error.message, "fields": error.fields}
    try:
        return pack({"type": "reply", "id": call_id, "error": described}, _extension)
    except (TypeError, ValueError):
        return error_frame(call_id, InternalError("the answer to this call could not be sent"))


def _message(
    kind: str, message_id: int, rest: dict[str, Any], packages: str | None
) -> dict[str, Any]:
    """What is read of a frame for which a guest has no memory comes first."""
    news = {} if packages is None else {"packages": packages}
    return {"type": kind, "id": message_id, **news, **rest}


def _large(value: Any) -> list[Large]:
    if type(value) is bytes and len(value) >= LARGE:
        return [Large(bytes_head(len(value)), value)]
    if type(value) is Blob and len(value.body) >= LARGE:
        return [Large(blob_head(value.media_type, len(value.body)), value.body)]
    return []


def _extension(value: Any) -> msgpack.ExtType:
    """Return what msgpack does not know: a record, a blob, an integer of more than 64 bits."""
    if isinstance(value, Record):
        body = {name: getattr(value, name) for name in value}
        return msgpack.ExtType(EXT_RECORD, msgpack.packb(body, default=_extension))
    if isinstance(value, Blob):
        return msgpack.ExtType(EXT_BLOB, pack_blob(value.media_type, value.body))
    if isinstance(value, int):
        size = value.bit_length() // 8 + 1
        return msgpack.ExtType(EXT_INTEGER, value.to_bytes(size, "big", signed=True))
    raise TypeError(f"a {type(value).__name__} has no form on the wire")
