"""What the host sends that is no JSON type: read-only records, blobs and long integers."""

from __future__ import annotations

from typing import Any, NoReturn

import msgpack

from py_code_mode_guest.wire import EXT_BLOB, EXT_INTEGER, EXT_RECORD, unpack_blob


class Record(dict[str, Any]):
    """A read-only record from the host: ``x.name`` and ``x["name"]`` are the same."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no field {name!r}; there are: {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return list(self)

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("records are read-only; dict(record) gives a copy to change")

    __setattr__ = __delattr__ = __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (dict(self),)


class Blob:
    """Bytes with a media type: how rich values (a DataFrame, an image) cross the wire."""

    __slots__ = ("body", "media_type")

    def __init__(self, media_type: str, body: bytes) -> None:
        self.media_type = media_type
        self.body = body


def ext_hook(code: int, data: bytes) -> Any:
    """Decode the extension types a host's frame may carry."""
    if code == EXT_INTEGER:
        return int.from_bytes(data, "big", signed=True)
    if code == EXT_RECORD:
        return Record(msgpack.unpackb(data, ext_hook=ext_hook, strict_map_key=True))
    if code == EXT_BLOB:
        return Blob(*unpack_blob(data))
    raise ValueError(f"unknown extension type {code}")
