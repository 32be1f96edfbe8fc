"""What stands where a namespace of a later part will be."""

from __future__ import annotations

from typing import NoReturn

from py_code_mode.errors import NotAvailableError


class Unavailable:
    """A namespace without operations: whatever is called is refused, saying so."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def refuse(self) -> NoReturn:
        """Raise NotAvailableError."""
        raise NotAvailableError(f"{self._namespace} are not available in this version")
