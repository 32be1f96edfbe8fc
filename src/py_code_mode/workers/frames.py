"""The host's end of the wire: every frame from a guest is hostile until it was checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from py_code_mode.errors import CodeModeError, InternalError
from py_code_mode.models import Blob, Record
from py_code_mode.workers.structure import check_call
from py_code_mode_guest.wire import (
    EXT_BLOB,
    EXT_INTEGER,
    EXT_RECORD,
    HEADER,
    MAX_STRUCTURE_BYTES,
    pack,
    pack_blob,
    unpack_blob,
)

#: The guest's own limit is 100; one more level for the frame around a value.
_MAX_DEPTH: Final = 102
_MAX_INTEGER_BYTES: Final = 1800  # a little over 4,300 digits
_MAX_NAME: Final = 200
_MAX_ID: Final = 1 << 62
_DONE_FIELDS: Final = 5  # without an error
_CALL_FIELDS: Final = 6
_STREAMS: Final = frozenset({"stdout", "stderr"})
_TRUNCATABLE: Final = frozenset({"stdout", "stderr", "value", "displays"})

Bundle = dict[str, str | bytes]


class ViolationError(Exception):
    """Raised when a guest sends what no guest of ours would; its worker is killed for it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is confined and waits for ``open``."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker could not confine itself and is about to end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Call:
    """Agent code calls an operation of a namespace."""

    id: int
    namespace: str
    operation: str
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Output:
    """Text that agent code printed, as ``(stream, text)`` in order."""

    parts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Display:
    """One MIME bundle."""

    bundle: Bundle


@dataclass(frozen=True, slots=True)
class Done:
    """A run ended by itself: with a value, or with an error's type and traceback."""

    id: int
    value: Any
    error_type: str | None
    error: str | None
    parts: list[tuple[str, str]]
    truncated: list[str]


Frame = Ready | Failed | Call | Output | Display | Done


def take_frame(received: bytearray, max_bytes: int, max_said: int) -> Frame | None:
    """Remove and return the first frame in ``received``; None while it is incomplete.

    ``max_bytes`` bounds any frame, ``max_said`` those that are no calls.

    Raises:
        ViolationError: for a frame that is too large, malformed or of an unknown shape.
    """
    if len(received) < HEADER.size:
        return None
    size: int = HEADER.unpack_from(received)[0]
    if size > max_bytes:
        raise ViolationError(f"a frame of {size:,} bytes")
    end = HEADER.size + size
    if len(received) < end:
        return None
    with memoryview(received)[HEADER.size : end] as body:
        message = _unpack(body)
    del received[:end]
    frame = _parse(message)
    if size > max_said and not isinstance(frame, Call):
        raise ViolationError(f"{size:,} bytes in one answer")
    return frame


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


def _unpack(body: memoryview) -> Any:
    try:
        if len(body) > MAX_STRUCTURE_BYTES:
            check_call(body)
        return msgpack.unpackb(body, ext_hook=_ext_hook, strict_map_key=True)
    except ViolationError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the parser raises, the frame is bad
        raise ViolationError(f"an unreadable frame ({type(error).__name__})") from None


def _ext_hook(code: int, data: bytes) -> Any:
    if code == EXT_INTEGER and len(data) <= _MAX_INTEGER_BYTES:
        return int.from_bytes(data, "big", signed=True)
    if code == EXT_BLOB:
        return Blob(*unpack_blob(data))
    raise ViolationError(f"extension type {code}")


def _parse(message: Any) -> Frame:
    kind = message.get("type") if type(message) is dict else None
    if kind == "call":
        return _parse_call(message)
    if kind == "done":
        return _parse_done(message)
    match message:
        case {"type": "output", "parts": list(parts), **extra} if not extra:
            return Output(_parts(parts))
        case {"type": "display", "bundle": dict(bundle), **extra} if not extra:
            return Display(_bundle(bundle))
        case {"type": "ready", **extra} if not extra:
            return Ready()
        case {"type": "failed", "reason": str(reason), **extra} if not extra:
            return Failed(reason)
    raise ViolationError("a frame of an unknown shape")


def _parse_call(message: dict[str, Any]) -> Call:
    # By hand, as the answer below: it is the frame of every call.
    call_id, args, kwargs = (message.get(name) for name in ("id", "args", "kwargs"))
    namespace, operation = message.get("namespace"), message.get("operation")
    if (
        len(message) != _CALL_FIELDS
        or type(call_id) is not int
        or not 0 <= call_id < _MAX_ID
        or type(namespace) is not str
        or type(operation) is not str
        or max(len(namespace), len(operation)) > _MAX_NAME
        or type(args) is not list
        or type(kwargs) is not dict
    ):
        raise ViolationError("a malformed call")
    if args or kwargs:
        _check_values([args, kwargs], blobs=True)
    return Call(call_id, namespace, operation, args, kwargs)


def _parse_done(message: dict[str, Any]) -> Done:
    # By hand: this is the frame of every run, and a mapping pattern takes five times as long.
    run_id, parts, truncated = (message.get(name) for name in ("id", "parts", "truncated"))
    error = message.get("error")
    if (
        type(run_id) is not int
        or type(parts) is not list
        or type(truncated) is not list
        or "value" not in message
        or len(message) != _DONE_FIELDS + (error is not None)
        or not all(isinstance(name, str) and name in _TRUNCATABLE for name in truncated)
    ):
        raise ViolationError("a malformed answer")
    value, names, said = message["value"], sorted(set(truncated)), _parts(parts)
    if type(value) not in _SCALARS:
        _check_values([value], blobs=False)
    if error is None:
        return Done(run_id, value, None, None, said, names)
    match error:
        case {"type": str(kind), "traceback": str(text), **extra} if not extra:
            return Done(run_id, None, kind[:_MAX_NAME], text, said, names)
    raise ViolationError("a malformed error")


def _parts(parts: list[Any]) -> list[tuple[str, str]]:
    checked = []
    for part in parts:
        match part:
            case [str(stream), str(text)] if stream in _STREAMS:
                checked.append((stream, text))
            case _:
                raise ViolationError("malformed output")
    return checked


def _bundle(bundle: dict[Any, Any]) -> Bundle:
    for media_type, data in bundle.items():
        if not isinstance(media_type, str) or type(data) not in (str, bytes):
            raise ViolationError("a malformed display")
    return bundle


def _check_values(values: list[Any], *, blobs: bool) -> None:
    """Refuse what msgpack can carry and no guest of ours sends: timestamps, deep nesting."""
    level = values
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                if not all(type(key) is str for key in value):
                    raise ViolationError("a key that is no text")
                below.extend(value.values())
            elif kind is list:
                below.extend(value)
            elif kind not in _SCALARS and not (blobs and kind is Blob):
                raise ViolationError(f"a value of type {kind.__name__}")
        if not below:
            return
        level = below
    raise ViolationError("a value nested too deeply")


_AS_THEY_ARE: Final = frozenset({str, bytes, float, bool, type(None)})
_SCALARS: Final = _AS_THEY_ARE | {int}
