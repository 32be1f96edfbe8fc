"""Tracebacks as the model should see them: the user's lines with their source, none of ours."""

from __future__ import annotations

import linecache
import os
import traceback
from collections import deque
from typing import Final

_OURS: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAX_CHARS: Final = 20_000
_MAX_SOURCES: Final = 500

_sources: deque[str] = deque()


def remember_source(filename: str, source: str) -> None:
    """Keep the source of a run or skill for tracebacks and ``inspect.getsource``."""
    if filename not in linecache.cache:
        _sources.append(filename)
    lines = [line + "\n" for line in source.splitlines()]
    linecache.cache[filename] = (len(source), None, lines, filename)
    while len(_sources) > _MAX_SOURCES:
        linecache.cache.pop(_sources.popleft(), None)


def render(error: BaseException) -> str:
    """Return the trimmed traceback, its middle left out where it is very long."""
    summary = traceback.TracebackException.from_exception(error, compact=True)
    _trim(summary)
    text = "".join(summary.format()).rstrip("\n")
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > _MAX_CHARS:
        half = _MAX_CHARS // 2
        text = f"{text[:half]}\n… {len(text) - _MAX_CHARS:,} characters left out …\n{text[-half:]}"
    return text


def _trim(summary: traceback.TracebackException) -> None:
    """Drop our own frames from a traceback and everything chained to it."""
    seen: set[int] = set()
    waiting: list[traceback.TracebackException | None] = [summary]
    while waiting:
        item = waiting.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        kept = [frame for frame in item.stack if not frame.filename.startswith(_OURS)]
        item.stack = traceback.StackSummary.from_list(kept)
        waiting += [item.__cause__, item.__context__, *(item.exceptions or ())]
