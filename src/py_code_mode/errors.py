"""The one error tree: what agent code can meet, and what only the host's callers can."""

from __future__ import annotations

from py_code_mode_guest.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ArtifactTooLargeError,
    ArtifactTypeError,
    ArtifactUnavailableError,
    CodeModeError,
    DepInstallError,
    DepNotFoundError,
    DepsError,
    InternalError,
    InvalidArgumentError,
    InvalidArtifactNameError,
    InvalidDepError,
    InvalidSkillError,
    NotAvailableError,
    RuntimeDepsDisabledError,
    SearchUnavailableError,
    SkillDepthError,
    SkillError,
    SkillExistsError,
    SkillNotFoundError,
    SkillProtectedError,
    SkillWritesDisabledError,
    StorageFullError,
    StorageUnavailableError,
    ToolCallError,
    ToolError,
    ToolNotFoundError,
    ToolTimeoutError,
    UnknownOperationError,
)


class ConfigurationError(CodeModeError):
    """Raised when settings or arguments cannot work; the message lists every problem at once."""

    code = "configuration"


class SandboxUnavailableError(CodeModeError):
    """Raised when the kernel cannot enforce the sandbox; names ``sandbox="off"``."""

    code = "sandbox_unavailable"


class ToolDefinitionError(ToolError, ValueError):
    """Raised when a tool's file cannot be used; the message has one line for each problem.

    ``line`` and ``reason`` are the first problem's; ``problems`` are all, as ``{line, reason}``.
    """

    code = "tool_definition"
    file: str
    line: int
    reason: str
    problems: list[dict[str, int | str]]


class SessionError(CodeModeError):
    """Base of what can go wrong with sessions."""

    code = "session_error"


class SessionUnknownError(SessionError, LookupError):
    """Raised when no session has this id."""

    code = "session_unknown"


class InvalidSessionIdError(SessionError, ValueError):
    """Raised when a session id is not 1-128 characters of ``[A-Za-z0-9._-]``."""

    code = "invalid_session_id"


class SessionBusyError(SessionError):
    """Raised when a session already has its full queue of waiting runs."""

    code = "session_busy"


class SessionClosedError(SessionError):
    """Raised when a session is used before it was opened or after it was closed."""

    code = "session_closed"


class CapacityError(SessionError):
    """Raised when no further session can be opened and none may be evicted."""

    code = "capacity"
    retry_after_s: float


class TimeoutTooLargeError(SessionError, ValueError):
    """Raised when a run asks for more time than the operator allows."""

    code = "timeout_too_large"


class CodeTooLargeError(SessionError, ValueError):
    """Raised when the code of a run is over the size limit."""

    code = "code_too_large"


class ExecutionIdReusedError(SessionError):
    """Raised when an execution id comes again with other code."""

    code = "execution_id_reused"


class ExecutionOutcomeUnknownError(SessionError):
    """Raised when the server that ran an execution is gone; it is never run twice."""

    code = "execution_outcome_unknown"


class ServerError(CodeModeError):
    """Base of what can come between a client and its session server."""

    code = "server_error"


class ServerUnreachableError(ServerError, ConnectionError):
    """Raised when a server does not answer; the message says whether it may have been asked."""

    code = "server_unreachable"


class DrainingError(ServerError):
    """Raised when new work comes to a server that is about to end."""

    code = "draining"


class UnauthorizedError(ServerError, PermissionError):
    """Raised when a server does not know the client's token."""

    code = "unauthorized"


class WorkerError(CodeModeError):
    """Base of what can happen to a worker process."""

    code = "worker_error"


class WorkerStartError(WorkerError):
    """Raised when a worker or the zygote could not be started."""

    code = "worker_start"


class WorkerCrashed(WorkerError):  # noqa: N818 - the name agent-facing answers carry
    """Raised when a worker process ended during a run.

    ``exit_code`` is the process's (negative for a signal, None where unknown); ``timed_out`` says
    that the host killed it because it did not stop at its deadline; ``cause`` is one of
    ``exited``, ``killed``, ``timeout``, ``interrupt``, ``violation``, ``disk``, ``threads``,
    ``memory``, ``cpu``, ``closed``.
    """

    code = "worker_crashed"
    exit_code: int | None
    timed_out: bool
    cause: str


__all__ = [
    "ArtifactError",
    "ArtifactNotFoundError",
    "ArtifactTooLargeError",
    "ArtifactTypeError",
    "ArtifactUnavailableError",
    "CapacityError",
    "CodeModeError",
    "CodeTooLargeError",
    "ConfigurationError",
    "DepInstallError",
    "DepNotFoundError",
    "DepsError",
    "DrainingError",
    "ExecutionIdReusedError",
    "ExecutionOutcomeUnknownError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidArtifactNameError",
    "InvalidDepError",
    "InvalidSessionIdError",
    "InvalidSkillError",
    "NotAvailableError",
    "RuntimeDepsDisabledError",
    "SandboxUnavailableError",
    "SearchUnavailableError",
    "ServerError",
    "ServerUnreachableError",
    "SessionBusyError",
    "SessionClosedError",
    "SessionError",
    "SessionUnknownError",
    "SkillDepthError",
    "SkillError",
    "SkillExistsError",
    "SkillNotFoundError",
    "SkillProtectedError",
    "SkillWritesDisabledError",
    "StorageFullError",
    "StorageUnavailableError",
    "TimeoutTooLargeError",
    "ToolCallError",
    "ToolDefinitionError",
    "ToolError",
    "ToolNotFoundError",
    "ToolTimeoutError",
    "UnauthorizedError",
    "UnknownOperationError",
    "WorkerCrashed",
    "WorkerError",
    "WorkerStartError",
]
