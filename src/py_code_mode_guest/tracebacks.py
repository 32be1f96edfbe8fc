"""Tracebacks as the model should see them: the user's lines with their source, none of ours."""

from __future__ import annotations

import linecache
import os
import traceback
from collections import deque
from typing import Final

_OURS: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: How the names of runs and skills begin, in place of a file's.
_AGENTS: Final = ("<run ", "<skill ")
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


def _of_agents(stack: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the frames without ours, and without those that we reach agent code through."""
    kept: list[traceback.FrameSummary] = []
    below_ours: list[traceback.FrameSummary] | None = None
    for frame in stack:
        if frame.filename.startswith(_OURS):
            below_ours = []
        elif below_ours is None or frame.filename.startswith(_AGENTS):
            below_ours = None
            kept.append(frame)
        else:  # such as asyncio's, unless it is the last to be told of
            below_ours.append(frame)
    return kept + (below_ours or [])


def _trim(summary: traceback.TracebackException) -> None:
    """Drop our own frames from a traceback and everything chained to it."""
    seen: set[int] = set()
    waiting: list[traceback.TracebackException | None] = [summary]
    while waiting:
        item = waiting.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        item.stack = traceback.StackSummary.from_list(_of_agents(item.stack))
        waiting += [item.__cause__, item.__context__, *(item.exceptions or ())]
