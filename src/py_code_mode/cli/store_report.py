"""What the store command prints: for a person on a terminal, lines when piped, or JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from py_code_mode.bootstrap.items import BadItemsError, Item, Kind
from py_code_mode.bootstrap.moves import Moved
from py_code_mode.errors import ToolDefinitionError
from py_code_mode.services.skill_source import read_skill
from py_code_mode.text import one_line
from py_code_mode.tools.loading import load_definition

_GREEN, _YELLOW, _RED, _DIM = 32, 33, 31, 2
#: How each list of changes is shown: its sign when piped, its colour on a terminal.
_SIGNS: Final = (("added", "+", _GREEN), ("changed", "~", _YELLOW), ("removed", "-", _RED))
_PROGRESS_EVERY = 10


class Report:
    """Prints results to standard output and failures, one line each, to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Give what shows, on a terminal, how many of ``total`` are done."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return

        def show(done: int) -> None:
            if done % _PROGRESS_EVERY == 0 or done == total:
                sys.stderr.write(f"\r{what} {done}/{total}")
                sys.stderr.flush()

        try:
            yield show
        finally:
            sys.stderr.write("\r\x1b[K")

    def moved(self, batches: Sequence[Moved], *, compared: bool = False) -> None:
        """Print what was, or would be, changed."""
        if self._as_json:
            self._json([asdict(moved) for moved in batches])
            return
        for moved in batches:
            for name, sign, colour in _SIGNS:
                for item in getattr(moved.changes, name):
                    print(_coloured(f"{sign} {one_line(item)}", colour))
            print(_summary(moved, compared=compared))

    def items(self, place: str, kind: Kind, items: Sequence[Item]) -> None:
        """Print what a place has."""
        if self._as_json:
            self._json([_described(item, kind) for item in items])
            return
        for item in items:
            about = _about(item, kind)
            print(one_line(item.text if kind == "deps" else item.name), _coloured(about, _DIM))
        if sys.stdout.isatty():
            print(f"{len(items)} {kind} in {place}")

    def pulled(self, folder: str, kind: Kind, items: Sequence[Item]) -> None:
        """Print what was written to a folder."""
        if self._as_json:
            self._json({"dest": folder, "type": kind, "names": [item.name for item in items]})
        else:
            print(f"{len(items)} {kind} written to {folder}")

    def bad_items(self, error: BadItemsError) -> None:
        """Print every bad item with its file and line."""
        if self._as_json:
            self._json({"problems": [asdict(problem) for problem in error.bad]})
        for problem in error.bad:
            sys.stderr.write(f"{one_line(str(problem), 500)}\n")
        sys.stderr.write(f"py-code-mode: {len(error.bad)} problems; nothing was changed\n")

    def failure(self, code: str, message: str) -> None:
        """Print why nothing could be done."""
        if self._as_json:
            self._json({"error": {"code": code, "message": message}})
        sys.stderr.write(f"py-code-mode: {message}\n")

    def _json(self, value: Any) -> None:
        print(json.dumps(value, ensure_ascii=False))


def _summary(moved: Moved, *, compared: bool) -> str:
    changes = moved.changes
    counts = [f"{len(getattr(changes, name))} {name}" for name, *_ in _SIGNS]
    counts.append(f"{len(changes.unchanged)} unchanged")
    note = "" if not moved.dry_run or compared else " (dry run: nothing was changed)"
    return f"{moved.target}: {', '.join(counts)}{note}"


def _described(item: Item, kind: Kind) -> Any:
    if kind == "deps":
        return item.text
    described = {"name": item.name, "description": _about(item, kind)}
    return described | ({"origin": item.origin} if kind == "skills" else {})


def _about(item: Item, kind: Kind) -> str:
    """Return the description of an item, on one line, or why it cannot be used."""
    if kind == "skills":
        read = read_skill(item.text)
        return one_line(read.problem or item.description or read.description)
    if kind == "deps":
        return ""
    try:
        return one_line(load_definition(item.text, file=item.name).description)
    except ToolDefinitionError as error:
        return one_line(f"cannot be used: line {error.line}: {error.reason}")


def _coloured(text: str, colour: int) -> str:
    # The convention of https://no-color.org; nothing else of the environment is asked.
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return text if plain or not text else f"\x1b[{colour}m{text}\x1b[0m"
