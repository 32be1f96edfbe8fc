"""Where each operation of the namespaces is on a server, and what its answer becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote

from py_code_mode.client.answers import record, records
from py_code_mode.client.requests import Asked
from py_code_mode.errors import InvalidArgumentError
from py_code_mode.json_values import from_json, to_json
from py_code_mode.models import (
    MIB,
    ArtifactRecord,
    Blob,
    SkillDetail,
    SkillRecord,
    ToolRecord,
)
from py_code_mode.services.lossless import check_lossless
from py_code_mode.store.names import artifact_segments
from py_code_mode.text import kind_of

Decode = Callable[[Any], Any]

#: Above this many bytes a body goes as it is, not as base64 in JSON, whose size servers limit.
_INLINE_BYTES: Final = MIB
#: The media types that a server takes for a body as it is.
_PLAIN_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}", re.ASCII)
_BYTES: Final = "application/octet-stream"
#: Installing packages may take minutes.
_INSTALL_S: Final = 330.0
#: No skill can have these names, and a path that ends in one leads elsewhere.
_NO_SKILL: Final = frozenset({"", "search"})
_HUGE: Final = 1 << 62


def request_of(
    namespace: str, operation: str, arguments: Mapping[str, Any]
) -> tuple[Asked, Decode]:
    """Return the request for an operation, and what makes its value of the answer.

    Raises:
        InvalidArgumentError, ArtifactTypeError, InvalidArtifactNameError: before anything is sent.
    """
    return _REQUESTS[namespace, operation](**arguments)


def is_skill_path(name: str) -> bool:
    """Tell whether a server's path can end in ``name``; other names are those of no skill."""
    return name not in _NO_SKILL and "/" not in name and name not in {".", ".."}


def _list_tools() -> tuple[Asked, Decode]:
    return Asked("GET", "/api/tools"), lambda found: records(ToolRecord, found)


def _search_tools(query: str, limit: int) -> tuple[Asked, Decode]:
    asked = Asked("GET", "/api/tools/search", params=_searched(query, limit))
    return asked, lambda found: records(ToolRecord, found)


def _list_skills() -> tuple[Asked, Decode]:
    return Asked("GET", "/api/skills"), lambda found: records(SkillRecord, found)


def _search_skills(query: str, limit: int) -> tuple[Asked, Decode]:
    asked = Asked("GET", "/api/skills/search", params=_searched(query, limit))
    return asked, lambda found: records(SkillRecord, found)


def _get_skill(name: str, version: int | None) -> tuple[Asked, Decode]:
    params = {}
    if version is not None:
        _check("version", version, int)
        params["version"] = str(version)
    asked = Asked("GET", f"/api/skills/{_segment(name)}", params=params)
    return asked, lambda found: record(SkillDetail, found)


def _create_skill(**skill: Any) -> tuple[Asked, Decode]:
    # Not sent twice: the second would fail, or make a second version.
    asked = Asked("POST", "/api/skills", body=skill, is_safe=False)
    return asked, lambda found: record(SkillRecord, found)


def _delete_skill(name: str) -> tuple[Asked, Decode]:
    return Asked("DELETE", f"/api/skills/{_segment(name)}", is_safe=False), _nothing


def _list_artifacts() -> tuple[Asked, Decode]:
    return Asked("GET", "/api/artifacts"), lambda found: records(ArtifactRecord, found)


def _save_artifact(
    name: str, data: Any, description: str, metadata: dict[str, Any] | None
) -> tuple[Asked, Decode]:
    path = _artifact_path(name)
    media_type, body = _plain_body(data)
    if body is not None and not metadata:
        headers = {"Content-Type": media_type}
        asked = Asked(
            "PUT", path, params={"description": description}, content=body, headers=headers
        )
    else:
        if not isinstance(data, (bytes, Blob)):
            check_lossless(data, where="data", max_bytes=_HUGE)
        check_lossless(metadata, where="metadata", max_bytes=_HUGE)
        saved = {"name": name, "description": description, "metadata": metadata}
        asked = Asked("POST", "/api/artifacts", body={**saved, "data": to_json(data)})
    return asked, lambda found: record(ArtifactRecord, found)


def _load_artifact(name: str) -> tuple[Asked, Decode]:
    return Asked("GET", _artifact_path(name)), from_json


def _delete_artifact(name: str) -> tuple[Asked, Decode]:
    return Asked("DELETE", _artifact_path(name), is_safe=False), _nothing


def _list_deps() -> tuple[Asked, Decode]:
    return Asked("GET", "/api/deps"), list


def _add_dep(spec: str) -> tuple[Asked, Decode]:
    body = {"package": spec}
    return Asked("POST", "/api/deps/add", body=body, patience_s=_INSTALL_S), list


def _remove_dep(name: str) -> tuple[Asked, Decode]:
    body = {"package": name}
    asked = Asked("POST", "/api/deps/remove", body=body, patience_s=_INSTALL_S, is_safe=False)
    return asked, list


def _sync_deps() -> tuple[Asked, Decode]:
    return Asked("POST", "/api/deps/sync", patience_s=_INSTALL_S), list


_REQUESTS: Final[Mapping[tuple[str, str], Callable[..., tuple[Asked, Decode]]]] = {
    ("tools", "list"): _list_tools,
    ("tools", "search"): _search_tools,
    ("skills", "list"): _list_skills,
    ("skills", "search"): _search_skills,
    ("skills", "get"): _get_skill,
    ("skills", "create"): _create_skill,
    ("skills", "delete"): _delete_skill,
    ("artifacts", "list"): _list_artifacts,
    ("artifacts", "save"): _save_artifact,
    ("artifacts", "load"): _load_artifact,
    ("artifacts", "delete"): _delete_artifact,
    ("deps", "list"): _list_deps,
    ("deps", "add"): _add_dep,
    ("deps", "remove"): _remove_dep,
    ("deps", "sync"): _sync_deps,
}


def _nothing(_found: Any) -> None:
    return None


def _searched(query: str, limit: int) -> dict[str, str]:
    _check("query", query, str)
    _check("limit", limit, int)
    return {"query": query, "limit": str(limit)}


def _segment(name: str) -> str:
    _check("name", name, str)
    return quote(name, safe="", errors="backslashreplace")


def _artifact_path(name: str) -> str:
    segments = artifact_segments(name)
    return "/".join(["/api/artifacts", *(quote(segment, safe="") for segment in segments)])


def _plain_body(data: Any) -> tuple[str, bytes | None]:
    """Return the media type and the bytes of what is too large for JSON."""
    if type(data) is bytes and len(data) > _INLINE_BYTES:
        return _BYTES, data
    if (
        type(data) is Blob
        and len(data.body) > _INLINE_BYTES
        and _PLAIN_TYPE.fullmatch(data.media_type)
    ):
        return data.media_type, data.body
    return "", None


def _check(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        _refuse(name, value, kind)


def _refuse(name: str, value: object, kind: type) -> NoReturn:
    raise InvalidArgumentError(
        f"needs {kind.__name__} for {name!r}, not {kind_of(value)}", parameter=name
    )
