"""The command line: ``run | demo | tools | serve | mcp | store``.

Exit codes: 0 fine, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from py_code_mode._version import __version__
from py_code_mode.cli import demo as demo_session
from py_code_mode.cli import mcp as mcp_command
from py_code_mode.cli import serve as serve_command
from py_code_mode.cli import store as store_command
from py_code_mode.cli.show import show_result
from py_code_mode.cli.tools import tools
from py_code_mode.errors import CodeModeError
from py_code_mode.json_values import result_to_json
from py_code_mode.models import RunResult
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.sessions.session import Sandbox, Session
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis_extra import redis_storage

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
    Path,
    typer.Option("--base", help="Folder with tools/, skills/, artifacts/ …", show_default=True),
]
_Redis = Annotated[
    str | None,
    typer.Option("--redis", help="URL of a Redis to use instead; - takes that of REDIS_URL."),
]
_Prefix = Annotated[str, typer.Option(help="What the keys in Redis begin with.")]


class _DemoStorage(StrEnum):
    FILES = "files"
    REDIS = "redis"


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
    redis: _Redis = None,
    prefix: _Prefix = "agent",
    timeout: Annotated[
        float | None, typer.Option(help="Seconds until the run is interrupted.", min=0.001)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result.")] = False,
    sandbox_off: _Off = False,
) -> None:
    """Run code in a fresh session on a folder, or a Redis, of tools, skills and artifacts."""
    source = _source(file, code)

    async def once() -> RunResult:
        async with Session(
            _storage(base, redis, prefix),
            sandbox="off" if sandbox_off else "auto",
            installer=PackageInstaller(environ=os.environ),
            tool_variables=os.environ,
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
    storage: Annotated[
        _DemoStorage, typer.Option(help="Where it keeps things; a Redis is started for it.")
    ] = _DemoStorage.FILES,
    sandbox_off: _Off = False,
) -> None:
    """Show the main things at work, on files in a temporary folder."""
    sandbox: Sandbox = "off" if sandbox_off else "auto"
    redis = storage is _DemoStorage.REDIS
    ok = _complete(demo_session.run(output, sandbox=sandbox, redis=redis))
    raise typer.Exit(0 if ok else 1)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def serve(context: typer.Context) -> None:
    """Run the session server; its settings come from the environment."""
    raise typer.Exit(serve_command.main(context.args))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def mcp(context: typer.Context) -> None:
    """Give an MCP client one session, on standard input and output."""
    raise typer.Exit(mcp_command.main(context.args))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def store(context: typer.Context) -> None:
    """Fill a store and see what is in it: bootstrap, list, pull, diff."""
    raise typer.Exit(store_command.main(context.args))


def _storage(base: Path, redis: str | None, prefix: str) -> Store:
    """Return the storage that the options name. What stands on a command line shows in ``ps``."""
    if redis is None:
        return FileStorage(base)
    url = os.environ.get("REDIS_URL") if redis == "-" else redis
    if not url:
        raise typer.BadParameter("--redis - needs the variable REDIS_URL")
    return redis_storage()(url, prefix=prefix)


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
