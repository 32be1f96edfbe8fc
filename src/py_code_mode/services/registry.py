"""Puts the four namespaces together, once for a process and its store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from py_code_mode.models import Limits
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.search.embedder import Embedder
from py_code_mode.services.artifacts import ArtifactsService
from py_code_mode.services.deps import DepsService
from py_code_mode.services.dispatch import Dispatcher
from py_code_mode.services.search import Fallback, Search
from py_code_mode.services.skills import SkillsService
from py_code_mode.services.tools import ToolsService
from py_code_mode.store.base import Store, StoredSkill


class Services:
    """A store's namespaces, and the two doors to them.

    Services keep no session's state and remember what they parsed: build one for all sessions.
    Agent code goes through ``agent``, everybody else through ``api``; both get the same tools and
    packages, and skills that remember whose they are. Nothing is read before the first call.

    Args:
        installer: where packages come from and are kept; without one, it is the index that uv
            uses by itself and a folder below the temporary one.
        preloaded: the modules that no package may replace.
        tool_variables: those of the host that tool files may name (``TOOL_...``).
        embedder: what searches go by; None is the default table.
        audit_args: whether the audit lines of tool calls show values, which may be secrets.
        search_fallback: ``lexical`` lets searches go by words while the embedder fails.
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits,
        installer: PackageInstaller | None = None,
        runtime_deps_allowed: bool = True,
        skill_writes_allowed: bool = True,
        preloaded: Collection[str] = (),
        tool_variables: Mapping[str, str] | None = None,
        embedder: Embedder | None = None,
        search_fallback: Fallback | None = None,
        audit_args: bool = False,
    ) -> None:
        self.limits = limits
        self.audit_args = audit_args
        search = partial(Search, vectors=store.vectors, embedder=embedder, fallback=search_fallback)
        self.tools = ToolsService(
            store.tools,
            variables=tool_variables,
            max_output_bytes=limits.max_output_bytes,
            search=search("tools"),
        )
        self.installer = installer or PackageInstaller(environ={})
        self.deps = DepsService(
            store.deps,
            self.installer,
            runtime_allowed=runtime_deps_allowed,
            preloaded=preloaded,
            resolutions=store.resolutions,
        )
        found: Search[StoredSkill] = search("skills")
        skills = partial(
            SkillsService, store.skills, writes_allowed=skill_writes_allowed, search=found
        )
        artifacts = ArtifactsService(store.artifacts, max_bytes=limits.max_artifact_bytes)
        shared = {"tools": self.tools, "artifacts": artifacts, "deps": self.deps}
        self.agent = Dispatcher({**shared, "skills": skills(origin="agent")})
        self.api = Dispatcher({**shared, "skills": skills(origin="api")})
