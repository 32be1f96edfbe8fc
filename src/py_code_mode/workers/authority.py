"""What a worker may ask of the host: told by whoever takes it, which the workers do not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

#: Waits until the host has memory for an answer of so many bytes.
MakeRoom = Callable[[int], Awaitable[None]]


class Authority(Protocol):
    """What one worker may ask of the host; bound to it for its whole life."""

    def describe(self) -> Mapping[str, Any]:
        """Return the operations of each namespace, as the guest is told them."""

    def call(
        self,
        namespace: str,
        operation: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        room: MakeRoom,
    ) -> Awaitable[Any]:
        """Do what agent code asked for. Raises CodeModeError for anything that goes wrong.

        Before an answer of more than a few hundred KB is made, ``room`` waits for its memory.
        """

    def event_name(self, namespace: str, operation: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return how a call is named to whoever watches the run; None where it is not told."""

    def packages(self) -> str:
        """Return the folder whose packages agent code may import now; empty where none may."""
