"""``py-code-mode mcp``: one session for an MCP client, on standard input and output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

from py_code_mode.cli.options import READ_BY_ALL, add_shared, read
from py_code_mode.variables import DEFAULT_BASE

#: Of the environment, tool files and the installer of packages get these.
_HANDED: Final = ("TOOL_", "UV_")
_NEEDED: Final = ("mcp", "structlog")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Serve in place of this process; returns an exit code only where that fails."""
    environ = os.environ if environ is None else environ
    given, options = read(_parser(), arguments, environ)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"py-code-mode mcp: the package {missing[0]} is missing, which is part of an extra:"
            " pip install 'py-code-mode[mcp]'\n"
        )
        return 2
    from py_code_mode.server.restart import restart_without_secrets  # noqa: PLC0415 - rarely needed

    variables = {name: value for name, value in environ.items() if name.startswith(_HANDED)}
    variables |= {name: environ[name] for name in READ_BY_ALL if name in environ}
    variables["ALLOW_RUNTIME_DEPS"] = "false" if given.no_runtime_deps else "true"
    if "REDIS_URL" not in options:
        options.setdefault("STORAGE_PATH", os.path.abspath(DEFAULT_BASE))
    return restart_without_secrets(
        variables | options, kept=environ, module="py_code_mode.mcp_server"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="py-code-mode mcp",
        description="Give an MCP client one session, on standard input and output. Of the variables"
        f" in brackets, {' and '.join(READ_BY_ALL)} are taken from the environment.",
    )
    add_shared(parser)
    parser.add_argument(
        "--no-runtime-deps", action="store_true", help="do not let packages be added or removed"
    )
    return parser
