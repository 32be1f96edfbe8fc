"""Names of a file as Python sees them: ``max-time`` is ``max_time``, and not every word will do."""

from __future__ import annotations

import keyword
import unicodedata
from typing import Final

from py_code_mode.text import quoted
from py_code_mode.tools.document import Document, Path

RESERVED_TOOLS: Final = frozenset({"list", "search"})
RESERVED_RECIPES: Final = frozenset({"list", "signature", "call_async"})
#: Taken by Python itself in every method.
RESERVED_PARAMETERS: Final = frozenset({"self"})
_MAX_BYTES: Final = 200


def python_name(name: str) -> str:
    """Return a name of the file as callers write it."""
    return name.replace("-", "_")


def name_problem(name: str, reserved: frozenset[str]) -> str | None:
    """Return why nobody could call a name in Python; None where one can."""
    called = python_name(name)
    if not called.isidentifier() or called.startswith("_"):
        return "use letters, digits, '_' and '-', and begin with a letter"
    if keyword.iskeyword(called):
        return "it is a word of Python's own"
    if called in reserved:
        return "the name is reserved"
    if unicodedata.normalize("NFKC", called) != called:
        return f"Python reads it as {unicodedata.normalize('NFKC', called)!a}; use that"
    return f"at most {_MAX_BYTES} bytes" if len(called.encode()) > _MAX_BYTES else None


class Names:
    """The names of one kind in one file: each must be callable, and no two the same."""

    def __init__(self, document: Document, what: str, reserved: frozenset[str]) -> None:
        self._document = document
        self._what = what
        self._reserved = reserved
        self._taken: dict[str, str] = {}

    def take(self, name: str, path: Path) -> str | None:
        """Return a name as Python has it; None, with its problem told, where it cannot be used."""
        problem = name_problem(name, self._reserved)
        called = python_name(name)
        if problem is None and called in self._taken:
            other = self._taken[called]
            problem = "it is there twice"
            if other != name:
                problem = f"in Python it is {called!r}, and so is {quoted(other)}"
        if problem is not None:
            self._document.refuse(path, f"{self._what} {quoted(name)}: {problem}")
            return None
        self._taken[called] = name
        return called
