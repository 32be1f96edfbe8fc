"""What goes in and out over HTTP, as clients are told it; section by section as in the docs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SESSION_ID = r"^[A-Za-z0-9._-]{1,128}$"


def session_header(*, required: bool) -> dict[str, Any]:
    """Return how OpenAPI describes the header that names a session."""
    return {
        "name": "X-Session-ID",
        "in": "header",
        "description": "The session" if required else "The session; without it, a new one",
        "required": required,
        "schema": {"type": "string", "pattern": SESSION_ID},
    }


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ExecuteRequest(_Body):
    """Code to run, and how long it may take."""

    code: str = Field(description="Python; the last expression is the value")
    timeout: float | None = Field(None, description="Seconds until the run is interrupted")
    execution_id: Annotated[str, Field(pattern=SESSION_ID)] | None = Field(
        None, description="Your id of this run; sent again, it gives the same answer, never a rerun"
    )


class State(BaseModel):
    """What is true of the session's variables."""

    generation: int = Field(description="Runs completed since the session was made or reset")
    lost: bool = Field(description="True where the variables of earlier runs are gone")
    durable: bool
    not_restored: list[str]


class ExecuteAnswer(BaseModel):
    """How a run ended. Code that fails is an answer too: see ``error`` and ``error_type``."""

    value: Any = Field(description="The last expression, in JSON; bytes as {$type: bytes, base64}")
    stdout: str
    stderr: str
    error: str | None = Field(description="The traceback")
    error_type: str | None
    is_ok: bool
    execution_time_ms: float
    session_id: str
    displays: list[dict[str, Any]] = Field(description="MIME bundles: tables, charts, images")
    state: State
    truncated: list[Literal["stdout", "stderr", "value", "displays"]]


class SessionAnswer(BaseModel):
    """What was done to a session."""

    status: Literal["interrupted", "idle", "reset", "deleted"]
    session_id: str


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"]
    uptime_seconds: float


class Ready(BaseModel):
    """Whether the server can do its work, and why not."""

    status: Literal["ready", "not_ready"]
    reasons: list[str] = Field(description="codes, such as storage_unavailable, deps_failed")
    detail: str = ""


class Info(BaseModel):
    """What agent code can do here."""

    tools: list[dict[str, Any]]
    skills: list[dict[str, Any]]
    artifacts_path: str | None
    packages: list[str]
    sandbox: dict[str, Any]
    limits: dict[str, Any]
    version: str


class Tool(BaseModel):
    """A program that agent code may call; ``score`` in search results alone."""

    name: str
    description: str
    tags: list[str]
    callables: list[str]
    score: float | None = None


class Skill(BaseModel):
    """A recipe; ``score`` in search results alone, ``source`` where one skill was asked for."""

    name: str
    description: str
    parameters: list[dict[str, Any]]
    version: int
    author: str
    origin: str
    created_at: str
    score: float | None = None
    source: str | None = None


class SkillRequest(_Body):
    """A skill to save."""

    name: str
    source: str
    description: str = ""
    overwrite: bool = False


class Artifact(BaseModel):
    """What is known of an artifact without its data."""

    name: str
    description: str
    media_type: str
    size: int
    metadata: dict[str, Any]
    created_at: str


class ArtifactRequest(_Body):
    """Data to save under a name; replaces what has that name."""

    name: str
    data: Any = Field(description="JSON, or bytes as {$type: bytes, base64}")
    description: str = ""
    metadata: dict[str, Any] | None = None


class PackageRequest(_Body):
    """A package, as a spec to add or a name to remove."""

    package: str


class Problem(BaseModel):
    """What went wrong (RFC 9457); ``code`` is stable."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, str]] | None = None
