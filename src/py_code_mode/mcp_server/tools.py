"""The tools that a model is offered, over one session. Docstrings are what the model reads."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from py_code_mode.errors import SkillNotFoundError, SkillProtectedError
from py_code_mode.mcp_server.content import records_content, run_content, text_content
from py_code_mode.models import RunResult
from py_code_mode.sessions.session import Session

_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False)
_CHANGES: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True)

#: Each tool, by the method that it is, with what clients are told of its effects.
ANNOTATIONS: Final = {
    "run_code": _CHANGES,
    "list_tools": _READS,
    "search_tools": _READS,
    "list_skills": _READS,
    "search_skills": _READS,
    "create_skill": _ADDS,
    "delete_skill": _CHANGES,
    "list_artifacts": _READS,
    "list_deps": _READS,
    "add_dep": _ADDS,
    "remove_dep": _CHANGES,
}
#: The tools that are absent where packages may not be changed.
CHANGE_DEPS: Final = frozenset({"add_dep", "remove_dep"})
#: A model is agent code: what the operator provided is not its to change.
_MODELS_MAY_CHANGE: Final = frozenset({"agent", "api"})

_Query = Annotated[str, Field(description="What it should do, in plain words")]
_Limit = Annotated[int, Field(description="How many to return", ge=1, le=100)]
_Package = Annotated[str, Field(description="A name with extras and versions: requests>=2.31,<3")]


class SessionTools:
    """One session's tools; each public method is a tool."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ending: set[asyncio.Task[RunResult]] = set()

    async def run_code(
        self,
        code: Annotated[str, Field(description="Python; the last expression is the value")],
        timeout: Annotated[
            float | None, Field(description="Seconds until the code is interrupted", gt=0)
        ] = None,
    ) -> CallToolResult:
        """Run Python in a persistent, sandboxed session.

        Variables, imports and functions stay for the next call. The answer has what was printed,
        the value of the last expression, images that were displayed, and the traceback of code
        that failed. In scope: `tools` (programs: tools.list(), help(tools.NAME)), `skills` (saved
        code: skills.list(), skills.NAME(...)), `artifacts` (data that outlives the session:
        artifacts.save(name, data), artifacts.load(name)) and `deps` (packages: deps.list()).
        """
        # A task of its own: the protocol's package cancels a call again and again until it ends,
        # and a run that is interrupted needs a moment to end.
        run = asyncio.create_task(self._session.run(code, timeout=timeout))
        try:
            return run_content(await asyncio.shield(run))
        except asyncio.CancelledError:
            run.cancel()
            self._ending.add(run)
            run.add_done_callback(self._ending.discard)
            raise

    async def list_tools(self) -> CallToolResult:
        """List the programs that code in run_code may call as tools.NAME(...)."""
        return records_content(await self._session.list_tools(), "There are no tools.")

    async def search_tools(self, query: _Query, limit: _Limit = 10) -> CallToolResult:
        """Find the programs that fit a purpose, best first; call them in run_code as tools.NAME."""
        found = await self._session.search_tools(query, limit)
        return records_content(found, "No tool fits.")

    async def list_skills(self) -> CallToolResult:
        """List the skills: saved Python that code in run_code may call as skills.NAME(...)."""
        return records_content(await self._session.list_skills(), "There are no skills.")

    async def search_skills(self, query: _Query, limit: _Limit = 10) -> CallToolResult:
        """Find the skills that fit a purpose, best first; call them in run_code as skills.NAME."""
        found = await self._session.search_skills(query, limit)
        return records_content(found, "No skill fits.")

    async def create_skill(
        self,
        name: Annotated[str, Field(description="A Python identifier")],
        source: Annotated[
            str, Field(description="A module with a docstring that defines run(...), typed")
        ],
        description: Annotated[str, Field(description="Instead of the module's docstring")] = "",
        overwrite: Annotated[bool, Field(description="Replace a skill of this name")] = False,  # noqa: FBT002
    ) -> CallToolResult:
        """Save Python as a skill, for later sessions too; skills.NAME(...) calls its `run`."""
        await self._check_changeable(name)
        made = await self._session.add_skill(name, source, description, overwrite=overwrite)
        return text_content(f"Saved skill {made.name}, version {made.version}.")

    async def delete_skill(
        self, name: Annotated[str, Field(description="The skill")]
    ) -> CallToolResult:
        """Delete a skill and its versions."""
        await self._check_changeable(name)
        await self._session.remove_skill(name)
        return text_content(f"Deleted skill {name}.")

    async def list_artifacts(self) -> CallToolResult:
        """List the saved data that code in run_code may load with artifacts.load(name)."""
        return records_content(await self._session.list_artifacts(), "There are no artifacts.")

    async def list_deps(self) -> CallToolResult:
        """List the packages that were added for code to import."""
        return records_content(await self._session.list_deps(), "No packages were added.")

    async def add_dep(self, package: _Package) -> CallToolResult:
        """Install a package from the package index, so that code in run_code can import it."""
        specs = await self._session.add_dep(package)
        return text_content(f"Installed. Packages: {', '.join(specs)}")

    async def remove_dep(
        self, package: Annotated[str, Field(description="The package's name")]
    ) -> CallToolResult:
        """Take a package off the list of those that code may import."""
        specs = await self._session.remove_dep(package)
        return text_content(f"Removed. Packages: {', '.join(specs) or 'none'}")

    async def _check_changeable(self, name: str) -> None:
        """Raise SkillProtectedError where the operator provided the skill."""
        try:
            origin = (await self._session.get_skill(name)).origin
        except SkillNotFoundError:
            return
        if origin not in _MODELS_MAY_CHANGE:
            raise SkillProtectedError(
                f"skill {name!r} was provided by the operator (origin {origin!r}) and cannot be"
                " changed here; create one with another name",
                name=name,
            )
