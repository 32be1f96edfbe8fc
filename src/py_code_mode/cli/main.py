"""The command line: ``run | demo | tools check``. Exit codes: 0 fine, 1 failed, 2 wrong use."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from py_code_mode._version import __version__
from py_code_mode.cli import demo as demo_steps
from py_code_mode.cli import store as store_command
from py_code_mode.cli.show import show_result
from py_code_mode.cli.tools import tools
from py_code_mode.errors import CodeModeError
from py_code_mode.json_values import result_to_json
from py_code_mode.models import Limits, RunResult
from py_code_mode.sessions.session import Session

T = TypeVar("T")

app = typer.Typer(
    name="py-code-mode",
    help="A place for LLM agents to write Python: persistent, sandboxed sessions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(tools)

_Base = Annotated[
    Path, typer.Option("--base", help="Folder with skills/, artifacts/ …", show_default=True)
]
_Off = Annotated[
    bool,
    typer.Option("--sandbox-off", help="Run without any enforcement; only for code you trust."),
]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    file: Annotated[
        str | None, typer.Argument(help="A Python file, or - for standard input.")
    ] = None,
    code: Annotated[str | None, typer.Option("-c", "--code", help="The code itself.")] = None,
    base: _Base = Path("./.code-mode"),
    timeout: Annotated[
        float | None, typer.Option(help="Seconds until the run is interrupted.", min=0.001)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result.")] = False,
    sandbox_off: _Off = False,
) -> None:
    """Run code in a fresh session on a folder of skills and artifacts."""
    source = _source(file, code)

    async def once() -> RunResult:
        limits = Limits()
        async with Session.from_base(
            base, limits=limits, sandbox="off" if sandbox_off else "auto"
        ) as session:
            return await session.run(source, timeout=timeout)

    result = _complete(once())
    if as_json:
        typer.echo(json.dumps(result_to_json(result)))
    else:
        show_result(result)
    raise typer.Exit(0 if result.is_ok else 1)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where the chart is written.")] = Path("demo-output"),
    sandbox_off: _Off = False,
) -> None:
    """Show the main things at work, on files in a temporary folder."""
    ok = _complete(demo_steps.run(output, sandbox="off" if sandbox_off else "auto"))
    raise typer.Exit(0 if ok else 1)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def store(context: typer.Context) -> None:
    """Fill a store and see what is in it: bootstrap, list, pull, diff."""
    raise typer.Exit(store_command.main(context.args))


def _source(file: str | None, code: str | None) -> str:
    if (file is None) == (code is None):
        raise typer.BadParameter("give a FILE (or - for standard input) or -c CODE, and one only")
    if code is not None:
        return code
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(str(file)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from None


def _complete(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; an error of ours is one line on stderr and exit code 2."""
    try:
        return asyncio.run(work)
    except CodeModeError as error:
        typer.echo(f"py-code-mode: {error}", err=True)
        raise typer.Exit(2) from None


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app()
