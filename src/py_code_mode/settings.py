"""The session server's settings, read once from an environment; every bad value is told at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final, Literal

from py_code_mode.errors import ConfigurationError
from py_code_mode.models import MIB, Limits
from py_code_mode.search.choose import choose_embedder
from py_code_mode.store.config_folder import check_config_folder
from py_code_mode.store.redis_extra import check_redis_url
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.variables import (
    access_tokens,
    address,
    fallback,
    flag,
    modules,
    one_of,
    seconds,
    starting,
    url_of_redis,
    whole,
    words,
)
from py_code_mode.workers.egress import EgressPolicy

_MAX_PORT: Final = 65535
_MAX_UID: Final = 100_000_000  # sessions have those above


_SANDBOX: Final = one_of("auto", "off")
_TIER: Final = one_of("A", "B", "C", "D", "none")
_LOG_FORMAT: Final = one_of("text", "json")
_LOG_LEVEL: Final = one_of("debug", "info", "warning", "error")


def _setting(
    variable: str, read: Callable[[str], Any], default: Any, *, secret: bool = False
) -> Any:
    about = {"variable": variable, "read": read, "secret": secret}
    return field(default=default, metadata=about, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set; units are in the names, the variable in each field's metadata."""

    tokens: tuple[str, ...] = _setting("CONTAINER_AUTH_TOKEN", access_tokens, (), secret=True)
    redis_url: str = _setting("REDIS_URL", url_of_redis, "", secret=True)
    allow_insecure_redis: bool = _setting("ALLOW_INSECURE_REDIS", flag, False)  # noqa: FBT003
    redis_prefix: str = _setting("REDIS_PREFIX", str, "agent")
    storage_path: str = _setting("STORAGE_PATH", str, "")
    config_path: str = _setting("CONFIG_PATH", str, "")
    artifacts_path: str = _setting("ARTIFACTS_PATH", str, "")
    artifact_inline_max: int = _setting("ARTIFACT_INLINE_MAX", whole(0), MIB)
    max_store_mb: int = _setting("MAX_STORE_MB", whole(0), 0)
    store_timeout_s: float = _setting("STORE_TIMEOUT", seconds, 5.0)
    host: str = _setting("HOST", address, "0.0.0.0")  # noqa: S104 - a container's port
    port: int = _setting("PORT", whole(0, _MAX_PORT), 8080)
    #: What a server that is started as root becomes; 0: it stays root.
    server_uid: int = _setting("SERVER_UID", whole(0, _MAX_UID), 0)
    allow_runtime_deps: bool = _setting("ALLOW_RUNTIME_DEPS", flag, False)  # noqa: FBT003
    deps_allow_build: bool = _setting("DEPS_ALLOW_BUILD", flag, False)  # noqa: FBT003
    allow_skill_writes: bool = _setting("ALLOW_SKILL_WRITES", flag, True)  # noqa: FBT003
    execution_timeout_s: float = _setting("EXECUTION_TIMEOUT", seconds, 60.0)
    max_execution_timeout_s: float = _setting("MAX_EXECUTION_TIMEOUT", seconds, 360.0)
    max_sessions: int = _setting("MAX_SESSIONS", whole(1), 200)
    max_queue: int = _setting("MAX_QUEUE", whole(0), 16)
    pool_size: int = _setting("POOL_SIZE", whole(0), 8)
    work_dir: str = _setting("WORK_DIR", str, "")
    session_idle_timeout_s: float = _setting("SESSION_IDLE_TIMEOUT", seconds, 3600.0)
    session_memory_mb: int = _setting("SESSION_MEMORY_MB", whole(64), 512)
    session_disk_mb: int = _setting("SESSION_DISK_MB", whole(1), 256)
    max_output_bytes: int = _setting("MAX_OUTPUT_BYTES", whole(1024, 8 * MIB), MIB)
    max_body_bytes: int = _setting("MAX_BODY_BYTES", whole(1024), 16 * MIB)
    max_artifact_bytes: int = _setting("MAX_ARTIFACT_BYTES", whole(1024), 256 * MIB)
    max_code_bytes: int = _setting("MAX_CODE_BYTES", whole(1, 32 * MIB), MIB)
    max_tool_calls: int = _setting("MAX_TOOL_CALLS", whole(0), 1000)
    drain_timeout_s: float = _setting("DRAIN_TIMEOUT", seconds, 30.0)
    embeddings: str = _setting("EMBEDDINGS", str, "static")
    search_fallback: Literal["lexical"] | None = _setting("EMBEDDINGS_FALLBACK", fallback, None)
    embeddings_api_key: str = _setting("EMBEDDINGS_API_KEY", str, "", secret=True)
    audit_args: bool = _setting("AUDIT_ARGS", flag, False)  # noqa: FBT003
    preload: tuple[str, ...] = _setting("PRELOAD", modules, ())
    sandbox: str = _setting("SANDBOX", _SANDBOX, "auto")
    min_sandbox_tier: str = _setting("MIN_SANDBOX_TIER", _TIER, "C")
    egress_allow: tuple[str, ...] = _setting("EGRESS_ALLOW", words, ())
    log_format: str = _setting("LOG_FORMAT", _LOG_FORMAT, "text")
    log_level: str = _setting("LOG_LEVEL", _LOG_LEVEL, "info")
    #: What tool files may name, and what the installer of packages reads; by variable.
    tool_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    installer_variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings of an environment.

        Raises:
            ConfigurationError: names every variable that is missing or bad, and never a secret.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for each in fields(cls):
            if each.metadata.get("variable") not in environ:
                continue
            try:
                values[each.name] = _value_of(each, environ)
            except ValueError as error:
                problems.append(str(error))
        made = cls(
            **values,
            tool_variables=starting("TOOL_", environ),
            installer_variables=starting("UV_", environ),
        )
        problems += [] if "CONTAINER_AUTH_TOKEN" in environ else [_UNSET]
        problems += [f"{name} is not available in this version" for name in _telemetry(environ)]
        is_bad_redis = any(problem.startswith("REDIS_URL") for problem in problems)
        problems += [each for each in made.problems() if not (is_bad_redis and each == _ONE_STORE)]
        if problems:
            raise ConfigurationError("; ".join(problems))
        return made

    def problems(self) -> list[str]:
        """Return what does not go together."""
        found = []
        if bool(self.redis_url) == bool(self.storage_path):
            found.append(_ONE_STORE)
        if self.execution_timeout_s > self.max_execution_timeout_s:
            found.append("EXECUTION_TIMEOUT must not be over MAX_EXECUTION_TIMEOUT")
        if self.sandbox == "off" and self.min_sandbox_tier != "none":
            found.append("SANDBOX=off needs MIN_SANDBOX_TIER=none too")
        if self.storage_path:
            given = {"ARTIFACTS_PATH": self.artifacts_path, "MAX_STORE_MB": self.max_store_mb}
            found += [f"{name} goes with REDIS_URL alone" for name, value in given.items() if value]
        if self.deps_allow_build and self.sandbox == "off":
            found.append("DEPS_ALLOW_BUILD needs the sandbox, which SANDBOX=off takes away")
        return [*found, *self._refused_by_those_who_use_them()]

    def _refused_by_those_who_use_them(self) -> Iterator[str]:
        """Yield what the parts of the server would refuse of what they are given."""
        key = {"EMBEDDINGS_API_KEY": self.embeddings_api_key}
        uses: dict[str, Callable[[], object]] = {
            "EGRESS_ALLOW": lambda: EgressPolicy.parse(self.egress_allow),
            "EMBEDDINGS": lambda: choose_embedder(self.embeddings, key),
            "REDIS_PREFIX": lambda: RedisKeys(self.redis_prefix),
        }
        if self.config_path:
            uses["CONFIG_PATH"] = lambda: check_config_folder(self.config_path)
        if self.work_dir:
            uses["WORK_DIR"] = lambda: _check_work_dir(self.work_dir)
        if self.redis_url:
            insecure = self.allow_insecure_redis
            uses["REDIS_URL"] = lambda: check_redis_url(self.redis_url, allow_insecure=insecure)
        for variable, use in uses.items():
            try:
                use()
            except ConfigurationError as error:
                said = "; ".join(error.message.splitlines())
                yield said if said.startswith(variable) else f"{variable}: {said}"

    def limits(self) -> Limits:
        """Return what sessions may use."""
        return Limits(
            execution_timeout_s=self.execution_timeout_s,
            max_execution_timeout_s=self.max_execution_timeout_s,
            memory_mb=self.session_memory_mb,
            disk_mb=self.session_disk_mb,
            max_file_mb=min(Limits().max_file_mb, self.session_disk_mb),
            max_output_bytes=self.max_output_bytes,
            max_code_bytes=self.max_code_bytes,
            max_artifact_bytes=self.max_artifact_bytes,
            max_tool_calls=self.max_tool_calls,
            max_queue=self.max_queue,
            max_sessions=self.max_sessions,
            pool_size=self.pool_size,
            session_idle_timeout_s=self.session_idle_timeout_s,
        )


def read_setting(name: str, environ: Mapping[str, str]) -> Any:
    """Return one setting alone, for commands that have few of the server's.

    Raises:
        ConfigurationError: names the variable.
    """
    (each,) = (each for each in fields(Settings) if each.name == name)
    try:
        given = each.metadata["variable"] in environ
        return _value_of(each, environ) if given else each.default
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _value_of(setting: Field[Any], environ: Mapping[str, str]) -> Any:
    """Raises ValueError, which names the variable and never shows a secret."""
    variable = setting.metadata["variable"]
    try:
        return setting.metadata["read"](environ[variable].strip())
    except ValueError as error:
        shown = "" if setting.metadata["secret"] else f", not {environ[variable]!r}"
        raise ValueError(f"{variable} {error}{shown}") from None


def _check_work_dir(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{path} cannot be written by this user")


_ONE_STORE: Final = "set one of REDIS_URL and STORAGE_PATH, and one only"
_UNSET: Final = (
    "CONTAINER_AUTH_TOKEN is not set; it is what clients send as `Authorization: Bearer ...`."
    " Make one with: openssl rand -hex 32"
)

#: The variables that no process of ours keeps in its environment.
SECRET_VARIABLES: Final = frozenset(
    {
        *(f.metadata["variable"] for f in fields(Settings) if f.metadata.get("secret")),
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
    }
)


def _telemetry(environ: Mapping[str, str]) -> list[str]:
    """Return the variables of OpenTelemetry that ask for something to be sent."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    wanted = {name: value for name, value in starting("OTEL_", environ).items() if value}
    return sorted(
        name
        for name, value in wanted.items()
        if name.startswith("OTEL_EXPORTER_") or (name.endswith("_EXPORTER") and value != "none")
    )
