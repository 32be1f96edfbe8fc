"""What a session's code may ask for: the services, on behalf of this session and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from py_code_mode.services.registry import Services
from py_code_mode.text import one_line
from py_code_mode.tools.base import Caller, Jail
from py_code_mode.workers.process import Worker

_MAX_NAME: Final = 200


class SessionAuthority:
    """The authority of one worker: programs that it asks for run in its own jail."""

    def __init__(self, services: Services, worker: Worker, jail: Jail) -> None:
        self._services = services
        self._caller = Caller(jail, worker.time_left)

    def describe(self) -> Mapping[str, Any]:
        """Return the operations of each namespace, as the guest is told them."""
        return self._services.agent.describe()

    async def call(
        self, namespace: str, operation: str, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Do what agent code asked for. Raises CodeModeError for anything that goes wrong."""
        return await self._services.agent.call(
            namespace, operation, args, kwargs, caller=self._caller
        )

    def event_name(self, namespace: str, operation: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return ``tools.curl.get`` for a tool's call, and None for all others."""
        if namespace != "tools" or operation != "call":
            return None
        parts = (kwargs.get("name"), kwargs.get("callable"))
        named = ".".join(part for part in parts if isinstance(part, str))
        return f"tools.{one_line(named[:_MAX_NAME])}"

    def packages(self) -> str:
        """Return the folder whose packages agent code may import now; empty where none may."""
        return self._services.deps.folder
