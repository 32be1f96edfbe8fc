"""``py-code-mode serve``: the session server, with its settings from the environment."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def serve(
    base: Annotated[
        str | None, typer.Option("--base", help="Keep everything in this folder: STORAGE_PATH.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option("--redis", help="Keep everything in this Redis: REDIS_URL.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="REDIS_PREFIX.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on: HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="PORT; 0 takes any that is free.")] = None,
    timeout: Annotated[float | None, typer.Option(help="EXECUTION_TIMEOUT, in seconds.")] = None,
) -> None:
    """Run the session server. Settings come from the environment; options go before them."""
    try:
        from py_code_mode.server.process import (  # noqa: PLC0415 - an extra, and slow to import
            restart_without_secrets,
        )
    except ModuleNotFoundError as error:
        typer.echo(
            f"py-code-mode: the server needs {error.name}, which is part of an extra:"
            " pip install 'py-code-mode[server]'",
            err=True,
        )
        raise typer.Exit(2) from None
    given = {
        "STORAGE_PATH": base,
        "REDIS_URL": redis,
        "REDIS_PREFIX": prefix,
        "HOST": host,
        "PORT": port,
        "EXECUTION_TIMEOUT": timeout,
    }
    environ = dict(os.environ)
    if base is not None:
        environ.pop("REDIS_URL", None)
    if redis is not None:
        environ.pop("STORAGE_PATH", None)
    environ |= {name: str(value) for name, value in given.items() if value is not None}
    restart_without_secrets(environ)
