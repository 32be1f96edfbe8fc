"""``py-code-mode tools check DIR``: what is wrong with tool files, before a session meets them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from py_code_mode.errors import ToolDefinitionError
from py_code_mode.text import one_line
from py_code_mode.tools.catalog import Loaded, load_all, unite
from py_code_mode.tools.cli import find_program, missing_variables
from py_code_mode.tools.definition import ToolDefinition
from py_code_mode.tools.document import definition_error

_SUFFIXES: Final = (".yaml", ".yml")

_Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="A folder of *.yaml files.", exists=True, file_okay=False),
]

tools = typer.Typer(name="tools", help="Tool definitions.", no_args_is_help=True)


@dataclass
class Checked:
    """One file: its tool, or its problems, each ``{line, reason}``; notes fail no check."""

    file: str
    name: str | None = None
    command: str | None = None
    installed: str | None = None
    callables: list[str] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@tools.callback()
def _tools() -> None:
    """Keep ``check`` a command of its own, beside which others will be."""


@tools.command()
def check(
    folder: _Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
) -> None:
    """Check every tool file of a folder. Exits 1 if one is bad or there is none."""
    files = check_files(folder)
    if not files:
        typer.echo(f"py-code-mode: {folder} has no *.yaml or *.yml file", err=True)
        raise typer.Exit(1)
    console = Console(highlight=False)
    if as_json:
        typer.echo(json.dumps([asdict(checked) for checked in files]))
    elif console.is_terminal:
        console.print(_table(files))
    else:
        for line in _lines(files):
            typer.echo(line)
    raise typer.Exit(1 if any(checked.problems for checked in files) else 0)


def check_files(folder: Path) -> list[Checked]:
    """Return what is to be said of each tool file of a folder, ordered by name."""
    texts: dict[str, str] = {}
    loaded: dict[str, Loaded] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in _SUFFIXES and not path.name.startswith("."):
            try:
                texts[path.name] = _read(path)
            except (OSError, ValueError) as error:
                loaded[path.name] = definition_error(path.name, [(1, one_line(str(error)))])
    loaded.update(load_all(texts))
    _, broken = unite(loaded)
    return [_checked(file, broken.get(file, found)) for file, found in sorted(loaded.items())]


def _read(path: Path) -> str:
    """Return the text that a session would read. Raises OSError, ValueError."""
    if path.is_symlink() or not path.is_file():
        raise ValueError("not a regular file; sessions do not follow links")
    if path.suffix == ".yml" and path.with_suffix(".yaml").exists():
        raise ValueError(f"{path.stem}.yaml is beside it, and sessions read that one alone")
    return path.read_bytes().decode("utf-8-sig")


def _checked(file: str, found: Loaded) -> Checked:
    if isinstance(found, ToolDefinitionError):
        return Checked(file, problems=list(found.problems))
    return Checked(
        file,
        name=found.name,
        command=found.command,
        installed=find_program(found.command),
        callables=list(found.recipes),
        notes=list(_notes(found)),
    )


def _notes(tool: ToolDefinition) -> Iterator[str]:
    if find_program(tool.command) is None:
        yield f"{tool.command} is not installed here"
    for variable in missing_variables(tool, os.environ):
        yield f"{variable} is not set here"


def _lines(files: list[Checked]) -> Iterator[str]:
    for checked in files:
        for problem in checked.problems:
            yield f"{checked.file}:{problem['line']}: {problem['reason']}"
        if not checked.problems:
            said = [", ".join(checked.callables) or "no recipes", *checked.notes]
            yield f"{checked.file}: ok: {checked.name}: {'; '.join(said)}"


def _table(files: list[Checked]) -> Table:
    table = Table()
    for heading in ("file", "tool", "program", "recipes", "problems"):
        table.add_column(heading, overflow="fold")
    for checked in files:
        problems = [f"line {each['line']}: {each['reason']}" for each in checked.problems]
        said = Text("\n".join([*problems, *checked.notes]), style="red" if problems else "yellow")
        table.add_row(
            Text(checked.file),
            Text(checked.name or ""),
            Text(checked.installed or "", style="green"),
            Text(", ".join(checked.callables)),
            said,
        )
    return table
