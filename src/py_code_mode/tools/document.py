"""A YAML text as plain values, with the line of each; what is hostile or ambiguous is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from py_code_mode.errors import ToolDefinitionError
from py_code_mode.text import has_surrogates, one_line, quoted

MAX_BYTES = 256 * 1024
#: How deep a file may nest, and how many values it may have once aliases are written out.
_MAX_DEPTH, _MAX_VALUES = 20, 20_000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "merge", "value")}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file and, by their path, the lines (from 1) they were written in."""

    file: str
    values: Any
    lines: dict[Path, int]
    problems: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, path: Path, reason: str) -> None:
        """Remember a problem at a path, or at the nearest one above it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        self.problems.append((self.lines.get(path, 1), reason))

    def check(self) -> None:
        """Raise ToolDefinitionError with every problem so far, in the order of their lines."""
        if self.problems:
            raise definition_error(self.file, sorted(dict.fromkeys(self.problems)))


def definition_error(file: str, problems: list[tuple[int, str]]) -> ToolDefinitionError:
    """Return the error for a file; ``problems`` are (line, reason), at least one."""
    line, reason = problems[0]
    return ToolDefinitionError(
        "\n".join(f"{file}:{number}: {text}" for number, text in problems),
        file=file,
        line=line,
        reason=reason,
        problems=[{"line": number, "reason": text} for number, text in problems],
    )


def read_document(text: str, *, file: str) -> Document:
    """Return the one document of a YAML text. Raises ToolDefinitionError where there is none."""
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise definition_error(file, [(1, f"the file has more than {MAX_BYTES:,} bytes")])
    if has_surrogates(text):
        raise definition_error(file, [(1, "the file has half of a surrogate pair: no UTF-8 text")])
    try:
        problem = _shape_problem(text)
        root = None if problem else yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        problem = _syntax_problem(error, text)
    if problem:
        raise definition_error(file, [problem])
    if root is None:
        raise definition_error(file, [(1, "the file is empty")])
    document = Document(file, {}, {})
    values = _Reader(document).read(root, (), 0)
    if not isinstance(values, dict):
        document.refuse((), f"the file holds {_kind(values)}, not 'key: value' lines")
        document.check()
    return Document(file, values, document.lines, document.problems)


def _shape_problem(text: str) -> tuple[int, str] | None:
    """Return why a text must not be composed: composing recurses as deeply as the text nests."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            return _line(event), f"nested more than {_MAX_DEPTH} levels deep"
        if number > _MAX_VALUES:
            return _line(event), f"more than {_MAX_VALUES:,} values"
    return None


def _syntax_problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, "a character that YAML does not allow; write it as an escape in quotes"
    mark = getattr(error, "problem_mark", None)
    line = 1 if mark is None else mark.line + 1
    reason = one_line(str(getattr(error, "problem", None) or error))
    lines = text.splitlines()
    if line <= len(lines) and lines[line - 1].lstrip(" ").startswith("\t"):
        reason = "indented with a tab; use spaces"
    return line, f"not YAML: {reason}"


class _Reader:
    """One pass over the nodes, aliases written out, with a budget for all of it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = yaml.constructor.SafeConstructor()
        self._left = _MAX_VALUES

    def read(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._document.lines.setdefault(path, _line(node))
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            self._document.refuse(path, "its aliases (*name) repeat too much; write less of them")
            self._document.check()
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return dict(self._items(node, path, depth))
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.read(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _items(self, node: yaml.MappingNode, path: Path, depth: int) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str) or key_node.tag != f"{_TAG}str":
                shown = quoted(key) if isinstance(key, str) else "a list or mapping"
                self._refuse_at(key_node, f"the key {shown} is no text; put it in quotes")
            elif key in seen:
                self._refuse_at(key_node, f"the key {quoted(key)} is there twice")
            else:
                seen.add(key)
                self._document.lines[(*path, key)] = _line(key_node)
                yield key, self.read(value_node, (*path, key), depth + 1)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            what = node.tag.removeprefix(_TAG)
            hint = "; put it in quotes" if what == "timestamp" else ""
            self._refuse_at(node, f"a value of the type {quoted(what)} is not allowed here{hint}")
            return node.value if isinstance(node, yaml.ScalarNode) else ""
        if node.tag in {f"{_TAG}merge", f"{_TAG}value"}:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, LookupError):
            self._document.refuse(path, f"{quoted(node.value)} is not what it looks like; quote it")
            return node.value

    def _refuse_at(self, node: yaml.Node, reason: str) -> None:
        self._document.problems.append((_line(node), reason))


def _line(where: Any) -> int:
    """Return the line, from 1, where a node or an event begins."""
    return int(where.start_mark.line) + 1


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "a single value"
