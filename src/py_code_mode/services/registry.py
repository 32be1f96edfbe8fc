"""Puts the four namespaces together. A later part replaces a placeholder here."""

from __future__ import annotations

from py_code_mode.models import Limits
from py_code_mode.services.artifacts import ArtifactsService
from py_code_mode.services.dispatch import Dispatcher
from py_code_mode.services.skills import SkillsService
from py_code_mode.services.tools import ToolsService
from py_code_mode.services.unavailable import Unavailable
from py_code_mode.store.base import Store


def build_services(
    store: Store,
    *,
    origin: str,
    limits: Limits,
    skill_writes_allowed: bool = True,
    tools: ToolsService | None = None,
) -> Dispatcher:
    """Return the door to a store's namespaces for callers of one origin (``agent``, ``api``).

    Services keep no session's state and remember what they parsed: build one for all sessions.
    ``tools`` may serve callers of several origins; without it, tools say that they are not there.
    """
    return Dispatcher(
        {
            "tools": tools or Unavailable("tools"),
            "skills": SkillsService(
                store.skills, origin=origin, writes_allowed=skill_writes_allowed
            ),
            "artifacts": ArtifactsService(store.artifacts, max_bytes=limits.max_artifact_bytes),
            "deps": Unavailable("deps"),
        }
    )
