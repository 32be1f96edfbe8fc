"""What every back end accepts and how it refuses: names, specs, metadata, who may overwrite.

One definition for files, memory and Redis, so that a name is valid in all of them or in none.
"""

from __future__ import annotations

import difflib
import json
import keyword
import unicodedata
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from py_code_mode.errors import (
    ArtifactNotFoundError,
    ArtifactTypeError,
    InvalidArgumentError,
    InvalidArtifactNameError,
    InvalidDepError,
    InvalidSkillError,
    SkillExistsError,
    SkillNotFoundError,
    SkillProtectedError,
    ToolNotFoundError,
)
from py_code_mode.store.base import StoredSkill

#: Longest artifact name, in characters.
MAX_NAME_CHARS = 512
#: Longest skill name, tool name or segment of an artifact name, in UTF-8 bytes: a file name may
#: have 255, and versions, suffixes and temporary names need a few of them.
MAX_SEGMENT_BYTES = 200
#: Where a folder of files keeps what is not edited by hand.
STATE_FOLDER = ".state"


def artifact_segments(name: str) -> tuple[str, ...]:
    """Return the folders and the last part of an artifact name.

    Raises:
        InvalidArtifactNameError: for a name that some back end could not keep, or that would
            leave its root; the message says which part and why.
    """
    problem = _artifact_problem(name)
    if problem is not None:
        raise InvalidArtifactNameError(
            f"{_shown(name)} is not an artifact name: {problem}", name=_crossing(name)
        )
    return tuple(name.split("/"))


def is_artifact_name(name: str) -> bool:
    """Tell whether ``artifact_segments`` would accept ``name``."""
    return _artifact_problem(name) is None


def skill_name(name: str) -> str:
    """Return ``name`` if it can name a skill in every back end; the service has further rules.

    Raises:
        InvalidSkillError: unless it is a Python identifier, no keyword and not too long.
    """
    if not is_skill_name(name):
        raise InvalidSkillError(
            f"{_shown(name)} is not a skill name: use a Python identifier that is no keyword, "
            f"of at most {MAX_SEGMENT_BYTES} bytes"
        )
    return name


def is_skill_name(name: object) -> bool:
    """Tell whether ``skill_name`` would accept ``name``."""
    return (
        isinstance(name, str)
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and len(name.encode()) <= MAX_SEGMENT_BYTES
    )


def tool_name(name: str) -> str:
    """Return ``name`` if it can be a key and a file name; what else it must be, the tools say.

    Raises:
        InvalidArgumentError: for an empty, dotted-first, too long or path-like name.
    """
    if not is_tool_name(name):
        raise InvalidArgumentError(
            f"{_shown(name)} is not a tool name: use letters, digits, '_' and '-'"
        )
    return name


def is_tool_name(name: object) -> bool:
    """Tell whether ``tool_name`` would accept ``name``."""
    return isinstance(name, str) and not name.startswith(".") and _segment_problem(name) is None


def dep_spec(spec: str) -> str:
    """Return ``spec`` if it can be one line of a requirements file; the service validates it.

    Raises:
        InvalidDepError: for several lines, outer spaces, a comment or nothing at all.
    """
    if not _is_spec_line(spec):
        raise InvalidDepError(f"{_shown(spec)} is not a package spec: give one line, no comment")
    return spec


def metadata_text(metadata: dict[str, Any] | None) -> str:
    """Return an artifact's metadata as JSON text, which is how every back end keeps it.

    Raises:
        ArtifactTypeError: for what JSON cannot give back equal.
    """
    try:
        text = json.dumps(metadata or {}, allow_nan=False)
        same = json.loads(text) == (metadata or {})
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactTypeError(f"metadata must be made of JSON values: {error}") from error
    if not same:
        raise ArtifactTypeError("metadata must be a JSON object with string keys; lists, no tuples")
    return text


def utc_text(seconds: float | None = None) -> str:
    """Return a time since the epoch (default: now) as every record writes it."""
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="microseconds")


def check_replaceable(
    current: StoredSkill, *, overwrite: bool, replaceable: frozenset[str] | None
) -> None:
    """Raise SkillExistsError or SkillProtectedError unless ``current`` may be overwritten."""
    name = current.name
    if not overwrite:
        raise SkillExistsError(
            f"a skill {name!r} exists (version {current.version}); "
            "give overwrite=True to make a new version",
            name=name,
        )
    if replaceable is not None and current.origin not in replaceable:
        raise SkillProtectedError(
            f"skill {name!r} was provided by the operator (origin {current.origin!r}) and cannot "
            "be overwritten here; create one with another name",
            name=name,
        )


def check_removable(current: StoredSkill, removable: frozenset[str] | None) -> None:
    """Raise SkillProtectedError unless ``current`` may be removed."""
    if removable is not None and current.origin not in removable:
        raise SkillProtectedError(
            f"skill {current.name!r} was provided by the operator (origin {current.origin!r}) "
            "and cannot be deleted here",
            name=current.name,
        )


def skill_not_found(
    name: str, known: Collection[str], version: int | None = None, kept: Iterable[int] = ()
) -> SkillNotFoundError:
    """Return the error for a missing skill, or for a missing version of one that exists."""
    if version is not None and name in known:
        numbers = ", ".join(str(number) for number in sorted(kept))
        return SkillNotFoundError(
            f"skill {name!r} has no version {version}; kept: {numbers}", name=name
        )
    return SkillNotFoundError(f"there is no skill {name!r}{_close(name, known)}", name=name)


def tool_not_found(name: str, known: Collection[str]) -> ToolNotFoundError:
    """Return the error for a missing tool."""
    return ToolNotFoundError(f"there is no tool {_shown(name)}{_close(name, known)}")


def artifact_not_found(name: str) -> ArtifactNotFoundError:
    """Return the error for a missing artifact."""
    return ArtifactNotFoundError(f"there is no artifact {name!r}", name=name)


def artifact_clash(name: str, other: str) -> InvalidArtifactNameError:
    """Return the error for ``a`` saved beside ``a/b`` or the reverse."""
    return InvalidArtifactNameError(
        f"artifact {name!r} cannot be saved: {other!r} is in the way, because a name cannot be "
        "both an artifact and a folder; delete that one or choose another name",
        name=name,
    )


def _artifact_problem(name: object) -> str | None:
    if not isinstance(name, str):
        return "it must be a string"
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        return f"it must have 1 to {MAX_NAME_CHARS} characters"
    if name.startswith(STATE_FOLDER):
        return f"names that begin with {STATE_FOLDER!r} are reserved"
    return next(filter(None, map(_segment_problem, name.split("/"))), None)


def _segment_problem(segment: str) -> str | None:
    if not segment:
        return "it has an empty part"
    if segment in {".", ".."}:
        return f"{segment!r} is not allowed as a part"
    if "\\" in segment or "/" in segment or _unprintable(segment):
        return "it has a backslash, a control character or half of a surrogate pair"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"each part may have at most {MAX_SEGMENT_BYTES} bytes of UTF-8"
    return None


def _is_spec_line(spec: object) -> bool:
    if not isinstance(spec, str) or not spec or spec != spec.strip():
        return False
    return not (_unprintable(spec) or spec.startswith("#") or " #" in spec)


def _unprintable(text: str) -> bool:
    return not (text.isascii() and text.isprintable()) and any(
        unicodedata.category(character) in {"Cc", "Cs"} for character in text
    )


def _close(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(str(name), list(known))
    return f"; close: {', '.join(map(repr, matches))}" if matches else ""


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _crossing(name: object) -> str:
    """Return a name that is safe in an error field: no lone surrogates, not endless."""
    return str(name)[:MAX_NAME_CHARS].encode("utf-8", "backslashreplace").decode()
