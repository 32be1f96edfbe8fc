"""``py-code-mode serve``: the session server, with its settings from the environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

from py_code_mode.cli.options import add_shared, read

#: Its own options, and which variable each stands for.
_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "host": ("HOST", "the address to listen on (default: 0.0.0.0)"),
    "port": ("PORT", "the port to listen on; 0 takes any that is free (default: 8080)"),
}
_NEEDED: Final = ("fastapi", "uvicorn", "uvloop", "structlog", "prometheus_client")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the server in place of this process; returns an exit code only where that fails."""
    variables = dict(os.environ if environ is None else environ)
    options = _read(arguments, variables)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"py-code-mode serve: {', '.join(missing)} missing, which are part of an extra:"
            " pip install 'py-code-mode[server]'\n"
        )
        return 2
    from py_code_mode.server.ending import hold  # noqa: PLC0415 - an extra
    from py_code_mode.server.restart import restart_without_secrets  # noqa: PLC0415 - an extra

    if {"REDIS_URL", "STORAGE_PATH"} & options.keys():  # one place goes before the other
        variables.pop("REDIS_URL", None)
        variables.pop("STORAGE_PATH", None)
    variables |= options
    uid = variables.get("SERVER_UID", "")
    hold()
    return restart_without_secrets(variables, arguments=[uid] if uid.isdigit() else [])


def _read(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the options stand for. Exits with 2 for wrong use."""
    given, options = read(_parser(), arguments, environ)
    for option, (variable, _) in _OPTIONS.items():
        value = getattr(given, option)
        if value is not None:
            options[variable] = value
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="py-code-mode serve",
        description="Run the session server. Settings come from the environment, in the variables"
        " that stand in brackets and many more; options go before them.",
    )
    add_shared(parser)
    for option, (variable, about) in _OPTIONS.items():
        parser.add_argument(f"--{option}", help=f"{about} [{variable}]")
    return parser
