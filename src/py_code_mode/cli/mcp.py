"""``py-code-mode mcp``: one session for an MCP client, on standard input and output."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

#: Of the environment, tool files and the installer of packages get these.
_HANDED: Final = ("TOOL_", "UV_")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Serve in place of this process; returns an exit code only where that fails."""
    environ = os.environ if environ is None else environ
    parser = _parser()
    given = parser.parse_args(arguments)
    if find_spec("mcp") is None:
        sys.stderr.write(
            "py-code-mode mcp: the package mcp is missing, which is part of an extra:"
            " pip install 'py-code-mode[mcp]'\n"
        )
        return 2
    from py_code_mode.server.restart import restart_without_secrets  # noqa: PLC0415 - rarely needed

    variables = {name: value for name, value in environ.items() if name.startswith(_HANDED)}
    variables["ALLOW_RUNTIME_DEPS"] = "false" if given.no_runtime_deps else "true"
    if given.timeout is not None:
        variables["EXECUTION_TIMEOUT"] = str(given.timeout)
    if given.redis is None:
        variables["STORAGE_PATH"] = os.path.abspath(given.base)
    else:
        url = environ.get("REDIS_URL") if given.redis == "-" else given.redis
        if not url:
            parser.error("--redis - needs the variable REDIS_URL")
        variables |= {"REDIS_URL": url, "REDIS_PREFIX": given.prefix}
    return restart_without_secrets(variables, kept=environ, module="py_code_mode.mcp_server")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="py-code-mode mcp",
        description="Give an MCP client one session, on standard input and output.",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--base",
        metavar="DIR",
        default="./.code-mode",
        help="folder with tools/, skills/, artifacts/ (default: %(default)s)",
    )
    place.add_argument(
        "--redis", metavar="URL", help="a Redis to use instead; - takes that of REDIS_URL"
    )
    parser.add_argument(
        "--prefix", default="agent", help="what the keys in Redis begin with (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds, help="seconds that a run may take (default: 60)"
    )
    parser.add_argument(
        "--no-runtime-deps", action="store_true", help="do not let packages be added or removed"
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


_seconds.__name__ = "number of seconds"  # what argparse calls it in its message
