"""Results as a model reads them: one text that says everything, and images as images."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent

from py_code_mode.json_values import to_json
from py_code_mode.models import Record, RunResult

#: The images that models see; others are told as text.
_IMAGES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")
#: What is shown of a display that is no image: the first of these that it has.
_TEXTS: Final = ("text/plain", "text/markdown", "text/html", "image/svg+xml", "application/json")


def run_content(result: RunResult) -> CallToolResult:
    """Return how a run ended. Code that failed is marked as an error, with its traceback."""
    text = "\n".join(_sections(result)) or "The code ran. It printed nothing and has no value."
    images = [image for bundle in result.displays if (image := _image(bundle)) is not None]
    content: list[ContentBlock] = [TextContent(text=text), *images]
    return CallToolResult(content=content, is_error=not result.is_ok)


def text_content(text: str) -> CallToolResult:
    """Return an answer that is a text."""
    return CallToolResult(content=[TextContent(text=text)])


def records_content(records: Sequence[Record | str], nothing: str) -> CallToolResult:
    """Return records as JSON, one on a line; ``nothing`` is said where there is none."""
    lines = [record if isinstance(record, str) else _line(record) for record in records]
    return text_content("\n".join(lines) or nothing)


def _sections(result: RunResult) -> Iterator[str]:
    """Yield what there is to say, each part under its name."""
    yield from _section("stdout", result.stdout)
    yield from _section("stderr", result.stderr)
    shown = [text for bundle in result.displays if (text := _text(bundle)) is not None]
    for text in shown:
        yield from _section("display", text)
    if result.value is not None and result.value not in shown:
        yield from _section("value", _value(result.value))
    if result.error is not None:
        yield from _section("error", result.error)
    if result.truncated:
        yield f"[note] cut at the output limit: {', '.join(result.truncated)}"
    if result.state.lost:
        yield "[note] the variables and imports of earlier runs are lost"


def _section(name: str, text: str) -> Iterator[str]:
    if text:
        yield f"[{name}]\n{text.rstrip()}"


def _value(value: Any) -> str:
    """Return a value as JSON; text stays as it is, as do the reprs of other objects."""
    return value if isinstance(value, str) else _json(to_json(value))


def _line(record: Mapping[str, Any]) -> str:
    return _json(dict(record))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _image(bundle: Mapping[str, str | bytes]) -> ImageContent | None:
    for media_type in _IMAGES:
        data = bundle.get(media_type)
        if isinstance(data, bytes):
            text = base64.b64encode(data).decode("ascii")
            return ImageContent(data=text, mime_type=media_type)
    return None


def _text(bundle: Mapping[str, str | bytes]) -> str | None:
    """Return the text of a display that is no image."""
    if _image(bundle) is not None:
        return None
    for media_type in _TEXTS:
        data = bundle.get(media_type)
        if isinstance(data, str):
            return data
    return f"(a display of the type {', '.join(sorted(bundle))})"
