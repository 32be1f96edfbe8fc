"""The media type of a body that a person put into the folder, by its suffix and its content."""

from __future__ import annotations

import json
import mimetypes
import os

#: The type of anything that is not known to be something else.
ANYTHING = "application/octet-stream"

# The module's own table alone: the same file has the same type on every machine.
_TABLE = mimetypes.MimeTypes()
_MORE = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".toml": "text/plain",
    ".webp": "image/webp",
    ".yaml": "text/plain",
    ".yml": "text/plain",
}


def media_type_by_suffix(name: str) -> str:
    """Return what the suffix of ``name`` promises."""
    suffix = os.path.splitext(name)[1].lower()
    found, encoding = _TABLE.guess_type(f"file{suffix}")
    if encoding is not None:
        return ANYTHING
    return _MORE.get(suffix) or found or ANYTHING


def media_type_of(name: str, body: bytes) -> str:
    """Return the type of ``body``: what the suffix promises, where the content keeps it.

    JSON must parse, else it is text; text must be UTF-8, else it is anything.
    """
    promised = media_type_by_suffix(name)
    if not is_text(promised):
        return promised
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return ANYTHING
    return "text/plain" if promised == "application/json" and not _is_json(text) else promised


def is_text(media_type: str) -> bool:
    """Tell whether a body must be looked into before it can be called ``media_type``."""
    return media_type.startswith("text/") or media_type == "application/json"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return False
    return True


def _refused(constant: str) -> None:
    raise ValueError(constant)
