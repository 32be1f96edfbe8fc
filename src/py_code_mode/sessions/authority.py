"""What a session's code may ask for: the services, on behalf of this session and no other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from py_code_mode.errors import CodeModeError, ToolError
from py_code_mode.models import SessionId
from py_code_mode.services.registry import Services
from py_code_mode.text import one_line
from py_code_mode.tools.base import Caller, Jail
from py_code_mode.workers import audit, broker
from py_code_mode.workers.authority import MakeRoom
from py_code_mode.workers.process import Worker

_MAX_NAME: Final = 200
_MAX_SHOWN: Final = 1000


class SessionAuthority:
    """The authority of one worker: programs that it asks for run in its own jail."""

    def __init__(
        self, services: Services, worker: Worker, jail: Jail, session_id: SessionId
    ) -> None:
        self._services = services
        self._worker = worker
        self._session_id = session_id
        self._jail = jail
        self._counted = (0, 0)  # the run, and its tool calls until now

    def describe(self) -> Mapping[str, Any]:
        """Return the operations of each namespace, as the guest is told them."""
        return self._services.agent.describe()

    async def call(
        self,
        namespace: str,
        operation: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        room: MakeRoom,
    ) -> Any:
        """Do what agent code asked for. Raises CodeModeError for anything that goes wrong."""
        if namespace == broker.NAMESPACE and self._worker.broker is not None:
            return await self._worker.broker.call(self._session_id, operation, args, kwargs)
        caller = Caller(self._jail, self._worker.time_left, room)
        if (namespace, operation) == ("tools", "call"):
            return await self._call_tool(args, kwargs, caller)
        return await self._services.agent.call(namespace, operation, args, kwargs, caller=caller)

    def event_name(self, namespace: str, operation: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return ``tools.curl.get`` for a tool's call, and None for all others."""
        if (namespace, operation) != ("tools", "call"):
            return None
        parts = (kwargs.get("name"), kwargs.get("callable"))
        named = ".".join(part for part in parts if isinstance(part, str))
        return f"tools.{one_line(named[:_MAX_NAME])}"

    def packages(self) -> str:
        """Return the folder whose packages agent code may import now; empty where none may."""
        return self._services.deps.folder

    async def _call_tool(self, args: list[Any], kwargs: dict[str, Any], caller: Caller) -> Any:
        started = time.perf_counter()
        status = "ok"
        try:
            self._count()
            return await self._services.agent.call("tools", "call", args, kwargs, caller=caller)
        except CodeModeError as error:
            status = error.code
            raise
        except BaseException:
            status = "cancelled"
            raise
        finally:
            if audit.is_on():
                ms = round((time.perf_counter() - started) * 1000, 3)
                self._write_audit_line(kwargs, status, ms)

    def _count(self) -> None:
        run, calls = self._counted
        calls = calls + 1 if run == self._worker.runs else 1
        self._counted = (self._worker.runs, calls)
        most = self._services.limits.max_tool_calls
        if calls > most:
            raise ToolError(
                f"this run has called tools {most:,} times, which is the limit of a run"
            )

    def _write_audit_line(self, kwargs: Mapping[str, Any], status: str, ms: float) -> None:
        """Say which tool was called, how that ended and what it was given."""
        given = kwargs.get("arguments")
        arguments = given if isinstance(given, dict) else {}
        shown = {
            one_line(name): one_line(str(value), _MAX_SHOWN)
            if self._services.audit_args
            else _size(value)
            for name, value in arguments.items()
        }
        audit.write(
            "tool call",
            session_id=self._session_id,
            tool=self.event_name("tools", "call", kwargs),
            status=status,
            ms=ms,
            arguments=shown,
        )


def _size(value: Any) -> str:
    """Return what an argument is without what it says: its type, and its length if it has one."""
    kind = type(value).__name__
    return f"{kind}[{len(value)}]" if isinstance(value, (str, bytes, list, dict)) else kind
