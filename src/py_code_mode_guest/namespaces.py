"""``artifacts``, ``deps``, ``tools``: attribute access becomes one call to the host.

The proxies know no operation by name. What a namespace offers is told by the host when the session
is opened, and checked by the host again at each call.
"""

from __future__ import annotations

import difflib
from typing import Any, NoReturn

from py_code_mode_guest import blobs, errors
from py_code_mode_guest.channel import Channel
from py_code_mode_guest.incoming import LACKS_MEMORY
from py_code_mode_guest.records import Blob, Record
from py_code_mode_guest.values import TooLargeError, UnencodableError, encode_argument


class Operation:
    """One method of a namespace: call it, or ``await operation.call_async(...)``."""

    def __init__(self, channel: Channel, namespace: str, described: dict[str, str]) -> None:
        self._channel = channel
        self._namespace = namespace
        self._signature = described["signature"]
        self.__name__ = described["name"]
        self.__qualname__ = f"{namespace}.{self.__name__}"
        self.__doc__ = f"{self.__qualname__}{self._signature}\n\n{described['doc']}"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return _answer(self._channel.call(self._message(args, kwargs)))

    async def call_async(self, /, *args: Any, **kwargs: Any) -> Any:
        """As calling it, without blocking other coroutines."""
        return _answer(await self._channel.call_async(self._message(args, kwargs)))

    def signature(self) -> str:
        """Return the typed signature."""
        return f"{self.__qualname__}{self._signature}"

    def __repr__(self) -> str:
        return f"<{self.signature()}>"

    def _message(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return {
            "namespace": self._namespace,
            "operation": self.__name__,
            "args": [self._encode(value, f"argument {i + 1}") for i, value in enumerate(args)],
            "kwargs": {name: self._encode(value, name) for name, value in kwargs.items()},
        }

    def _encode(self, value: Any, where: str) -> Any:
        try:
            exact = self._namespace == "artifacts"
            return encode_argument(value, exact=exact, where=where, rich=blobs.encode)
        except TooLargeError as error:
            if self._namespace == "artifacts":
                raise errors.ArtifactTooLargeError(f"{self.__qualname__}: {error}") from None
            raise errors.InvalidArgumentError(f"{self.__qualname__}: {error}") from None
        except UnencodableError as error:
            if self._namespace == "artifacts":
                raise errors.ArtifactTypeError(f"{self.__qualname__}: {error}") from None
            raise errors.InvalidArgumentError(f"{self.__qualname__}: {error}") from None


class Namespace:
    """One of the four names in every session."""

    def __init__(self, channel: Channel, name: str, operations: list[dict[str, str]]) -> None:
        made = {described["name"]: Operation(channel, name, described) for described in operations}
        self.__dict__["_name"] = name
        self.__dict__["_operations"] = made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        operation = self._operations.get(name)
        if operation is None:
            self._unknown(name)
        return operation

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self._name} is provided by the session and cannot be changed")

    def __dir__(self) -> list[str]:
        return sorted(self._operations)

    def __repr__(self) -> str:
        listed = "\n".join(f"  {operation.signature()}" for operation in self._operations.values())
        return f"<{self._name}: help({self._name}.{next(iter(self._operations), '…')})\n{listed}>"

    def _unknown(self, name: str) -> NoReturn:
        close = difflib.get_close_matches(name, self._operations, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise errors.UnknownOperationError(
            f"{self._name} has no method {name!r}.{hint} It has: {', '.join(self._operations)}."
        )


def _answer(reply: dict[str, Any]) -> Any:
    if LACKS_MEMORY in reply:
        raise MemoryError("the answer does not fit in what this session's memory has left")
    error = reply.get("error")
    if error is None:
        return _decode(reply.get("value"))
    cls = errors.BY_NAME.get(error["type"], errors.InternalError)
    raise cls(error["message"], **error["fields"])


def _decode(value: Any) -> Any:
    return blobs.decode(value) if type(value) is Blob else value


__all__ = ["Namespace", "Operation", "Record"]
