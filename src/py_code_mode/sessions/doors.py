"""The namespaces as a program sees them: the same methods on a local session and on a client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from py_code_mode.models import ArtifactRecord, SkillDetail, SkillRecord, ToolRecord


class Doors(ABC):
    """Methods for what a session's namespaces hold; ``_call`` takes them there."""

    @abstractmethod
    async def _call(self, namespace: str, operation: str, **arguments: Any) -> Any:
        """Run one operation of a namespace and return its value. Raises CodeModeError."""

    async def list_tools(self) -> list[ToolRecord]:
        """Return every tool that can be used, ordered by name."""
        answer: list[ToolRecord] = await self._call("tools", "list")
        return answer

    async def search_tools(self, query: str, limit: int = 10) -> list[ToolRecord]:
        """Return the tools that fit ``query``, best first, with a ``score``."""
        answer: list[ToolRecord] = await self._call("tools", "search", query=query, limit=limit)
        return answer

    async def list_skills(self) -> list[SkillRecord]:
        """Return every skill, ordered by name."""
        answer: list[SkillRecord] = await self._call("skills", "list")
        return answer

    async def search_skills(self, query: str, limit: int = 10) -> list[SkillRecord]:
        """Return the skills that fit ``query``, best first, with a ``score``."""
        answer: list[SkillRecord] = await self._call("skills", "search", query=query, limit=limit)
        return answer

    async def get_skill(self, name: str, version: int | None = None) -> SkillDetail:
        """Return a skill with its source. Raises SkillNotFoundError."""
        answer: SkillDetail = await self._call("skills", "get", name=name, version=version)
        return answer

    async def add_skill(
        self, name: str, source: str, description: str = "", *, overwrite: bool = False
    ) -> SkillRecord:
        """Save a skill and return its record. Raises InvalidSkillError, SkillExistsError."""
        answer: SkillRecord = await self._call(
            "skills",
            "create",
            name=name,
            source=source,
            description=description,
            overwrite=overwrite,
        )
        return answer

    async def remove_skill(self, name: str) -> None:
        """Remove a skill and its versions. Raises SkillNotFoundError."""
        await self._call("skills", "delete", name=name)

    async def list_artifacts(self) -> list[ArtifactRecord]:
        """Return every artifact's record, ordered by name."""
        answer: list[ArtifactRecord] = await self._call("artifacts", "list")
        return answer

    async def save_artifact(
        self,
        name: str,
        data: Any,
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> ArtifactRecord:
        """Save JSON values, text or bytes under a name. Raises ArtifactTypeError."""
        answer: ArtifactRecord = await self._call(
            "artifacts", "save", name=name, data=data, description=description, metadata=metadata
        )
        return answer

    async def load_artifact(self, name: str) -> Any:
        """Return an artifact with the type it was saved with; a Blob for images and tables.

        Raises ArtifactNotFoundError.
        """
        return await self._call("artifacts", "load", name=name)

    async def delete_artifact(self, name: str) -> None:
        """Delete an artifact. Raises ArtifactNotFoundError."""
        await self._call("artifacts", "delete", name=name)

    async def list_deps(self) -> list[str]:
        """Return the stored package specs, sorted."""
        answer: list[str] = await self._call("deps", "list")
        return answer

    async def add_dep(self, spec: str) -> list[str]:
        """Install a package and keep it in the list, which is returned.

        Raises InvalidDepError, DepInstallError, RuntimeDepsDisabledError; then nothing has changed.
        """
        answer: list[str] = await self._call("deps", "add", spec=spec)
        return answer

    async def remove_dep(self, name: str) -> list[str]:
        """Take a package off the list, which is returned.

        Raises DepNotFoundError, RuntimeDepsDisabledError.
        """
        answer: list[str] = await self._call("deps", "remove", name=name)
        return answer

    async def sync_deps(self) -> list[str]:
        """Install what the list says, and return ``name==version`` of all that is installed.

        Raises InvalidDepError, DepInstallError; then packages stay as they were.
        """
        answer: list[str] = await self._call("deps", "sync")
        return answer
