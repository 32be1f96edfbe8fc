"""The four namespaces together, behind one door."""

from __future__ import annotations

import pytest

from py_code_mode.errors import (
    ArtifactTooLargeError,
    NotAvailableError,
    SkillWritesDisabledError,
)
from py_code_mode.models import Limits
from py_code_mode.services.registry import build_services
from py_code_mode.store.memory import MemoryStorage


async def test_every_namespace_is_there_and_those_of_later_parts_say_so() -> None:
    door = build_services(MemoryStorage(), origin="agent", limits=Limits(max_artifact_bytes=10))
    signatures = {
        namespace: [found["name"] + found["signature"] for found in operations]
        for namespace, operations in door.describe().items()
    }
    assert signatures == {
        "tools": [],
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
        "deps": [],
    }
    assert all(found["doc"] for found in door.describe()["skills"])
    with pytest.raises(NotAvailableError, match="tools are not available in this version"):
        await door.call("tools", "list", [], {})
    with pytest.raises(ArtifactTooLargeError):
        await door.call("artifacts", "save", ["a", "x" * 11], {})


async def test_callers_of_both_origins_share_one_store() -> None:
    store = MemoryStorage()
    agent = build_services(store, origin="agent", limits=Limits(), skill_writes_allowed=False)
    api = build_services(store, origin="api", limits=Limits(), skill_writes_allowed=False)
    await api.call("skills", "create", ["hello"], {"source": "def run(): pass"})
    with pytest.raises(SkillWritesDisabledError):
        await agent.call("skills", "delete", ["hello"], {})
    (found,) = await agent.call("skills", "list", [], {})
    assert (found.name, found.origin) == ("hello", "api")
