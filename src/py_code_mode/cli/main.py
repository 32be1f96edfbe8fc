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
from importlib.util import decode_source
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from py_code_mode._version import __version__
from py_code_mode.cli import demo as demo_session
from py_code_mode.cli import mcp as mcp_command
from py_code_mode.cli import options
from py_code_mode.cli import serve as serve_command
from py_code_mode.cli import store as store_command
from py_code_mode.cli.show import show_result
from py_code_mode.cli.tools import tools
from py_code_mode.errors import CodeModeError
from py_code_mode.json_values import result_to_json
from py_code_mode.models import RunResult
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.sessions.session import Sandbox, Session
from py_code_mode.settings import read_setting
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis_extra import redis_storage
from py_code_mode.variables import DEFAULT_BASE

T = TypeVar("T")

app = typer.Typer(
    name="py-code-mode",
    help="A place for LLM agents to write Python: persistent, sandboxed sessions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(tools)

_Base = Annotated[str | None, typer.Option("--base", metavar="DIR", help=options.about("base"))]
_Redis = Annotated[str | None, typer.Option("--redis", metavar="URL", help=options.about("redis"))]
_Prefix = Annotated[str | None, typer.Option(help=options.about("prefix"))]
_Timeout = Annotated[
    float | None,
    typer.Option(metavar="S", parser=options.number_of_seconds, help=options.about("timeout")),
]
_AllowBuild = Annotated[bool, typer.Option("--allow-build", help=options.about("allow-build"))]


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
    *,
    file: Annotated[
        str | None, typer.Argument(help="A Python file, or - for standard input.")
    ] = None,
    code: Annotated[str | None, typer.Option("-c", "--code", help="The code itself.")] = None,
    base: _Base = None,
    redis: _Redis = None,
    prefix: _Prefix = None,
    timeout: _Timeout = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result.")] = False,
    allow_build: _AllowBuild = False,
    sandbox_off: _Off = False,
) -> None:
    """Run code in a fresh session on a folder, or a Redis, of tools, skills and artifacts."""
    source = _source(file, code)

    async def once() -> RunResult:
        building = allow_build or read_setting("deps_allow_build", os.environ)
        async with Session(
            _storage(base, redis, prefix),
            sandbox="off" if sandbox_off else "auto",
            installer=PackageInstaller(environ=os.environ, allow_build=building),
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


def _storage(base: str | None, redis: str | None, prefix: str | None) -> Store:
    """Return the storage that the options name."""
    try:
        place = options.place_of(base, redis, os.environ)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if "REDIS_URL" in place:
        return redis_storage()(place["REDIS_URL"], prefix="agent" if prefix is None else prefix)
    return FileStorage(place.get("STORAGE_PATH", DEFAULT_BASE))


def _source(file: str | None, code: str | None) -> str:
    if (file is None) == (code is None):
        raise typer.BadParameter("give a FILE (or - for standard input) or -c CODE, and one only")
    if code is not None:
        return code
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(str(file)).read_bytes()
        return decode_source(body)  # a byte order mark, a `coding` line: as Python reads files
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
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
