"""The four namespaces together, behind one door."""

from __future__ import annotations

import pytest

from py_code_mode.errors import (
    ArtifactTooLargeError,
    SkillWritesDisabledError,
)
from py_code_mode.models import Limits
from py_code_mode.services.registry import Services
from py_code_mode.store.memory import MemoryStorage


async def test_every_namespace_is_there() -> None:
    door = Services(MemoryStorage(), limits=Limits(max_artifact_bytes=10)).agent
    signatures = {
        namespace: [found["name"] + found["signature"] for found in operations]
        for namespace, operations in door.describe().items()
    }
    assert signatures == {
        "tools": [
            "list() -> list[ToolRecord]",
            "search(query: str, limit: int = 10) -> list[ToolRecord]",
            "describe(name: str) -> dict[str, Any]",
            "call(name: str, callable: str | None, arguments: dict[str, Any],"
            " args: list[Any] | None = None, large: str | bytes | None = None,"
            " large_at: str | int | None = None) -> Any",
        ],
        "skills": [
            "create(name: str, source: str, description: str = '', overwrite: bool = False)"
            " -> SkillRecord",
            "get(name: str, version: int | None = None) -> SkillDetail",
            "list() -> list[SkillRecord]",
            "search(query: str, limit: int = 10) -> list[SkillRecord]",
            "delete(name: str) -> None",
        ],
        "artifacts": [
            "save(name: str, data: Any, description: str = '', metadata: dict[str, Any] | None"
            " = None) -> ArtifactRecord",
            "load(name: str) -> Any",
            "get(name: str) -> ArtifactRecord",
            "list() -> list[ArtifactRecord]",
            "exists(name: str) -> bool",
            "delete(name: str) -> None",
        ],
        "deps": [
            "add(spec: str) -> list[str]",
            "remove(name: str) -> list[str]",
            "list() -> list[str]",
            "sync() -> list[str]",
        ],
    }
    assert all(found["doc"] for found in door.describe()["skills"])
    with pytest.raises(ArtifactTooLargeError):
        await door.call("artifacts", "save", ["a", "x" * 11], {})


async def test_callers_of_both_origins_share_one_store() -> None:
    store = MemoryStorage()
    services = Services(store, limits=Limits(), skill_writes_allowed=False)
    agent, api = services.agent, services.api
    await api.call("skills", "create", ["hello"], {"source": "def run(): pass"})
    with pytest.raises(SkillWritesDisabledError):
        await agent.call("skills", "delete", ["hello"], {})
    (found,) = await agent.call("skills", "list", [], {})
    assert (found.name, found.origin) == ("hello", "api")
