"""Reads Google-style docstrings, line by line: hostile text cannot make it slow."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

_ARGUMENT_HEADINGS = frozenset({"args:", "arguments:", "parameters:", "keyword args:"})


#: What is read of one docstring. Cleaning up takes quadratic time in leading empty lines.
_MAX_CHARS = 20_000


def docstring(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return a node's docstring without its indentation; empty where it has none."""
    raw = ast.get_docstring(node, clean=False) or ""
    return inspect.cleandoc(raw[:_MAX_CHARS])


def first_paragraph(text: str) -> str:
    """Return the text up to the first empty line."""
    return text.partition("\n\n")[0]


def argument_docs(text: str) -> dict[str, str]:
    """Return the descriptions of the ``Args:`` section by parameter name."""
    docs: dict[str, str] = {}
    name = ""
    outer: int | None = None
    for line in _section(text):
        indent = len(line) - len(line.lstrip())
        outer = indent if outer is None else outer
        if indent <= outer:
            head, _, said = _split_argument(line.strip())
            name = head.partition("(")[0].strip().lstrip("*")
            docs[name] = said.strip()
        else:
            docs[name] = f"{docs[name]} {line.strip()}"
    return docs


def _section(text: str) -> Iterator[str]:
    """Yield the lines of the section, without empty ones, up to the next unindented line."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.lower().rstrip() in _ARGUMENT_HEADINGS:
            break
    for line in lines:
        if line and not line[0].isspace():
            return
        if line.strip():
            yield line


def _split_argument(line: str) -> tuple[str, str, str]:
    """Split ``name (type): text`` at its colon, which a type may contain as well."""
    head, colon, text = line.partition("): ")
    if colon and "(" in head and ":" not in head.partition("(")[0]:
        return head, colon, text
    return line.partition(":")
