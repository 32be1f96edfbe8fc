"""The client as an extra: SessionClient where httpx2 is installed, else the line for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_code_mode.errors import ConfigurationError

if TYPE_CHECKING:
    from py_code_mode.client.session import SessionClient


class MissingClientError(ConfigurationError, ImportError):
    """Raised when SessionClient is asked for and httpx2, an extra, is not installed."""


def session_client() -> type[SessionClient]:
    """Return the class SessionClient.

    Raises:
        MissingClientError: httpx2 is not installed; says how to install it.
    """
    try:
        from py_code_mode.client.session import SessionClient  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"httpx2", "httpcore2"}:
            raise
        raise MissingClientError(
            "SessionClient needs httpx2, which is an extra: pip install 'py-code-mode[client]'"
        ) from error
    return SessionClient
