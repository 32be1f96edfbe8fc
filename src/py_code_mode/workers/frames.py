"""Frames from a guest: each is hostile until it was checked here."""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, Final

import msgpack

from py_code_mode.models import Blob
from py_code_mode.workers.structure import check_structure
from py_code_mode_guest.wire import EXT_BLOB, EXT_INTEGER, MAX_STRUCTURE_BYTES, unpack_blob

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
    #: Bytes of memory that the arguments take.
    weight: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for the answer to a call any more."""

    id: int


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


Frame = Ready | Failed | Call | Cancel | Output | Display | Done


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Bytes: of a frame that is no call, and of the lists and dicts in one."""

    said: int
    structure: int


def read_frame(body: memoryview, limits: FrameLimits) -> Frame:
    """Return the frame that has this body.

    Raises:
        ViolationError: for one that is too large for its type, malformed or of an unknown shape.
    """
    frame = _parse(_unpack(body, limits.structure))
    if len(body) > limits.said and not isinstance(frame, Call):
        raise ViolationError(f"{len(body):,} bytes in one answer")
    return frame


def _unpack(body: memoryview, most: int) -> Any:
    try:
        if len(body) > MAX_STRUCTURE_BYTES:
            check_structure(body, most)
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
    return _parse_other(message)


def _parse_other(message: Any) -> Frame:
    match message:
        case {"type": "output", "parts": list(parts), **extra} if not extra:
            return Output(_parts(parts))
        case {"type": "display", "bundle": dict(bundle), **extra} if not extra:
            return Display(_bundle(bundle))
        case {"type": "cancel", "id": int(call_id), **extra} if not extra:
            return Cancel(call_id)
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
    weight = _check_values([args, kwargs], blobs=True) if args or kwargs else 0
    return Call(call_id, namespace, operation, args, kwargs, weight)


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


def _check_values(values: list[Any], *, blobs: bool) -> int:
    """Return the bytes of memory that values take.

    Raises ViolationError for what msgpack can carry and no guest of ours sends: timestamps, deep
    nesting.
    """
    level, weight = values, 0
    for _ in range(_MAX_DEPTH):
        weight += sum(map(getsizeof, level))
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                weight += _check_keys(value)
                below.extend(value.values())
            elif kind is list:
                below.extend(value)
            elif blobs and kind is Blob:
                weight += len(value.body)
            elif kind not in _SCALARS:
                raise ViolationError(f"a value of type {kind.__name__}")
        if not below:
            return weight
        level = below
    raise ViolationError("a value nested too deeply")


def _check_keys(value: dict[Any, Any]) -> int:
    """Return the bytes that the keys take."""
    if not all(type(key) is str for key in value):
        raise ViolationError("a key that is no text")
    return sum(map(getsizeof, value))


_SCALARS: Final = frozenset({str, bytes, float, bool, type(None), int})
