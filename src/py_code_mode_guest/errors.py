"""The errors agent code can meet, defined once for both sides of the wire.

The host raises them, the wire carries ``{type, message, fields}``, and the guest rebuilds the
same class from :data:`BY_NAME`, so that ``except ArtifactNotFoundError`` works in agent code.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CodeModeError(Exception):
    """Base of every error this product raises; ``code`` is stable across wire and HTTP.

    Keyword arguments become attributes and cross the wire; their values must be JSON values.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.fields)


def _rebuild(cls: type[CodeModeError], message: str, fields: dict[str, Any]) -> CodeModeError:
    return cls(message, **fields)


class InvalidArgumentError(CodeModeError, TypeError):
    """Raised when an argument is missing, unknown or of the wrong type; names which."""

    code = "invalid_argument"


class UnknownOperationError(CodeModeError, AttributeError):
    """Raised when a namespace has no such method; the message names the close matches."""

    code = "unknown_operation"


class NotAvailableError(CodeModeError):
    """Raised when something belongs to a part that this version does not have."""

    code = "not_available"


class InternalError(CodeModeError):
    """Raised in agent code when the host failed; details are in the host's log, not here."""

    code = "internal_error"


class StorageUnavailableError(CodeModeError):
    """Raised when the store cannot be reached or does not answer in time."""

    code = "storage_unavailable"


class StorageFullError(CodeModeError):
    """Raised when a save would exceed the space there is."""

    code = "storage_full"


class SearchUnavailableError(CodeModeError):
    """Raised when a search by meaning has no vectors to work with; says why and what to do."""

    code = "search_unavailable"


class SkillError(CodeModeError):
    """Base of what can go wrong with skills."""

    code = "skill_error"


class SkillNotFoundError(SkillError, LookupError):
    """Raised when no skill has this name (or this version); the message names close matches."""

    code = "skill_not_found"
    name: str


class SkillExistsError(SkillError):
    """Raised when a skill of this name exists and ``overwrite`` was not given."""

    code = "skill_exists"
    name: str


class InvalidSkillError(SkillError, ValueError):
    """Raised when a skill's name or source is not acceptable; says which line and why."""

    code = "invalid_skill"


class SkillProtectedError(SkillError, PermissionError):
    """Raised when agent code would change a skill that the operator provided."""

    code = "skill_protected"
    name: str


class SkillWritesDisabledError(SkillError, PermissionError):
    """Raised when the operator does not let agent code create or delete skills."""

    code = "skill_writes_disabled"


class SkillDepthError(SkillError, RecursionError):
    """Raised when skills invoke each other too deeply; ``chain`` names the cycle."""

    code = "skill_depth"
    chain: list[str]


class ArtifactError(CodeModeError):
    """Base of what can go wrong with artifacts."""

    code = "artifact_error"


class ArtifactNotFoundError(ArtifactError, LookupError):
    """Raised when no artifact has this name."""

    code = "artifact_not_found"
    name: str


class ArtifactTypeError(ArtifactError, TypeError):
    """Raised when a value could not be given back equal; the message names where it sits."""

    code = "artifact_type"


class InvalidArtifactNameError(ArtifactError, ValueError):
    """Raised when an artifact name is empty, too long, leaves the root or clashes."""

    code = "invalid_artifact_name"
    name: str


class ArtifactTooLargeError(ArtifactError):
    """Raised when a body is over the size limit."""

    code = "artifact_too_large"


class ArtifactUnavailableError(ArtifactError):
    """Raised when an artifact's record exists and its body cannot be read."""

    code = "artifact_unavailable"
    name: str


class ToolError(CodeModeError):
    """Base of what can go wrong with tools."""

    code = "tool_error"


class ToolNotFoundError(ToolError, LookupError):
    """Raised when no tool or recipe has this name; the message names close matches."""

    code = "tool_not_found"


class ToolCallError(ToolError):
    """Raised when a tool's program ended with an exit code that is not a success."""

    code = "tool_call"
    exit_code: int
    stdout: str
    stderr: str


class ToolTimeoutError(ToolError, TimeoutError):
    """Raised when a tool ran out of its time; it and all it started are gone."""

    code = "tool_timeout"


class DepsError(CodeModeError):
    """Base of what can go wrong with packages."""

    code = "deps_error"


class RuntimeDepsDisabledError(DepsError, PermissionError):
    """Raised when the operator does not let packages be added or removed at run time."""

    code = "runtime_deps_disabled"


class InvalidDepError(DepsError, ValueError):
    """Raised when a package spec is not a plain name with extras and version specifiers."""

    code = "invalid_dep"


class DepNotFoundError(DepsError, LookupError):
    """Raised when a package that is to be removed is not in the list."""

    code = "dep_not_found"


class DepInstallError(DepsError):
    """Raised when packages could not be installed; names the package and the reason."""

    code = "dep_install"


def _tree(cls: type[CodeModeError]) -> list[type[CodeModeError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _tree(sub))]


#: The allow-list of classes that may be rebuilt from the wire.
BY_NAME: dict[str, type[CodeModeError]] = {cls.__name__: cls for cls in _tree(CodeModeError)}

for _cls in BY_NAME.values():
    # The name that agent code and tracebacks know them by, on both sides.
    _cls.__module__ = "py_code_mode.errors"
