"""From the text of a tool's file to its definition, or to every reason why it has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from py_code_mode.text import close_matches, quoted
from py_code_mode.tools.definition import ToolDefinition
from py_code_mode.tools.document import Document, Path, definition_error, read_document
from py_code_mode.tools.format import FilePart, read_part
from py_code_mode.tools.names import RESERVED_TOOLS, name_problem, python_name
from py_code_mode.tools.recipes import read_recipes
from py_code_mode.tools.schema import Schema

#: A reference to a variable of the host, whole or left open.
REFERENCE: Final = re.compile(r"\$\{([^}]*)(\}?)")
_VARIABLE: Final = re.compile(r"TOOL_[A-Za-z0-9_]+", re.ASCII)
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TYPES: Final = ("cli", "mcp", "http")
#: HOME is too, unless a file names another: programs read files of their own from there.
_JAILS_OWN: Final = frozenset({"TMPDIR"})


def load_definition(text: str, *, file: str) -> ToolDefinition:
    """Return what a file says. Nothing is looked up: neither the program nor any variable.

    Raises:
        ToolDefinitionError: names every problem of the file with its line.
    """
    document = read_document(text, file=file)
    values = document.values
    _check_type(document)
    part = read_part(FilePart, values, document, ())
    schema = Schema(
        document,
        values["schema"] if isinstance(values.get("schema"), dict) else {},
        end_of_options=values.get("end_of_options") is True,
    )
    recipes = read_recipes(values.get("recipes"), schema, document)
    if part is not None:
        for path, reason in _problems(part):
            document.refuse(path, reason)
    document.check()
    assert part is not None  # noqa: S101 - or there was a problem
    return ToolDefinition(
        name=python_name(part.name),
        description=part.description,
        command=part.command,
        args=tuple(part.args),
        timeout_s=part.timeout,
        tags=tuple(part.tags),
        options=schema.of("option"),
        positional=schema.of("positional"),
        stdin=next(iter(schema.of("stdin")), None),
        recipes=recipes,
        output=part.output,
        env=part.env,
        ok_exit_codes=tuple(part.ok_exit_codes),
        network=part.network,
        ports=None if part.ports is None else tuple(part.ports),
        end_of_options=part.end_of_options,
    )


def _check_type(document: Document) -> None:
    """Refuse the other kinds of tools at once: nothing below would make sense for them."""
    kind = document.values.get("type", "cli")
    if kind == "cli":
        return
    if kind in _TYPES:
        reason = f"tools of the type {kind!r} are not available in this version"
    else:
        reason = f"{quoted(kind)} is no type of tool{close_matches(kind, _TYPES)}"
    raise definition_error(document.file, [(document.lines[("type",)], reason)])


def _problems(part: FilePart) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the top level beyond its shape."""
    if problem := name_problem(part.name, RESERVED_TOOLS):
        yield ("name",), f"tool {quoted(part.name)}: {problem}"
    if not part.description.strip():
        yield ("description",), "'description' is empty"
    if problem := _command_problem(part.command):
        yield ("command",), f"command {quoted(part.command)}: {problem}"
    if part.ports is not None and not part.network:
        yield ("ports",), "'ports' does not go with 'network: false'"
    yield from _text_problems(part)


def _text_problems(part: FilePart) -> Iterator[tuple[Path, str]]:
    for place, given in enumerate(part.args):
        if "\0" in given:
            yield ("args", place), "has a NUL character, which no program's argument can have"
    for name, value in part.env.items():
        for reason in _variable_problems(name, value):
            yield ("env", name), f"env {quoted(name)}: {reason}"


def _command_problem(command: str) -> str | None:
    if "\0" in command:
        return "has a NUL character"
    if command.startswith("/"):
        return None
    if "/" in command:
        return "give a program's name or an absolute path; relative paths depend on the folder"
    if command.split() != [command]:
        return "give the program alone; fixed arguments belong in 'args'"
    return None


def _variable_problems(name: str, value: Any) -> Iterator[str]:
    if not _ENV_NAME.fullmatch(name):
        yield "use letters, digits and '_'"
    if name in _JAILS_OWN:
        yield "is set by the jail, to the session's folder"
    if "\0" in value:
        yield "has a NUL character"
    for found in REFERENCE.finditer(value):
        variable, closed = found.groups()
        if not closed:
            yield "has a '${' without its '}'"
        elif not _VARIABLE.fullmatch(variable):
            yield (
                f"refers to {quoted(variable)}; only variables of the host whose names begin "
                "with TOOL_ can be used"
            )
