"""The one door to the namespaces: find the operation, check its arguments, run it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from py_code_mode.errors import CodeModeError, InternalError, UnknownOperationError
from py_code_mode.services.operation import Operation, operation_names
from py_code_mode.text import close_matches, quoted
from py_code_mode.tools.base import Caller

_log = logging.getLogger(__name__)


class Dispatcher:
    """Calls operations by name. ``services`` maps a namespace's name to its service."""

    def __init__(self, services: Mapping[str, object]) -> None:
        self._services = dict(services)
        self._operations = {
            namespace: {
                name: Operation(namespace, getattr(service, name))
                for name in operation_names(type(service))
            }
            for namespace, service in services.items()
        }

    def describe(self) -> dict[str, list[dict[str, str]]]:
        """Return each namespace's operations as ``{name, signature, doc}``."""
        return {
            namespace: [
                {"name": found.name, "signature": found.signature, "doc": found.doc}
                for found in operations.values()
            ]
            for namespace, operations in self._operations.items()
        }

    async def call(
        self,
        namespace: str,
        operation: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        caller: Caller | None = None,
    ) -> Any:
        """Run an operation and return its value: records, a Blob, JSON values or bytes.

        ``caller`` is the session that asks; operations that run programs need one.

        Raises:
            UnknownOperationError: where there is no such namespace or operation.
            InvalidArgumentError: before anything runs, for arguments that do not fit.
            NotAvailableError: where the operation needs a session and there is none.
            InternalError: for any failure of ours; its reason goes to the log alone.
            CodeModeError: whatever the operation raises.
        """
        found = self._find(namespace, operation)
        try:
            return await found.run(**found.bind(args, kwargs, caller=caller))
        except CodeModeError:
            raise
        except Exception:  # noqa: BLE001 - this is the door
            _log.exception("%s failed", found.path)
            # The text of an unforeseen error may hold paths or addresses that agents must not see.
            raise InternalError(
                f"{found.path}() failed inside the server; the reason is in the server's log"
            ) from None

    def _find(self, namespace: str, operation: str) -> Operation:
        service = self._services.get(namespace)
        if service is None:
            close = close_matches(namespace, list(self._services))
            raise UnknownOperationError(f"there is no namespace {quoted(namespace)}{close}")
        operations = self._operations[namespace]
        if operation not in operations:
            close = close_matches(operation, list(operations))
            raise UnknownOperationError(f"{namespace} has no method {quoted(operation)}{close}")
        return operations[operation]
