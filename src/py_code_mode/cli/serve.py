"""``py-code-mode serve``: the session server, with its settings from the environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

#: Which variable each option stands for.
_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "base": ("STORAGE_PATH", "keep everything in this folder"),
    "redis": ("REDIS_URL", "keep everything in this Redis (a password here shows in `ps`)"),
    "prefix": ("REDIS_PREFIX", "what the keys in Redis begin with"),
    "host": ("HOST", "the address to listen on"),
    "port": ("PORT", "the port to listen on; 0 takes any that is free"),
    "timeout": ("EXECUTION_TIMEOUT", "seconds that a run may take, unless it asks for more"),
}
_NEEDED: Final = ("fastapi", "uvicorn", "uvloop", "structlog", "prometheus_client")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run the server in place of this process; returns an exit code only where that fails."""
    given = _parser().parse_args(arguments)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"py-code-mode serve: {', '.join(missing)} missing, which are part of an extra:"
            " pip install 'py-code-mode[server]'\n"
        )
        return 2
    from py_code_mode.server.ending import hold  # noqa: PLC0415 - an extra
    from py_code_mode.server.restart import restart_without_secrets  # noqa: PLC0415 - an extra

    variables = dict(os.environ if environ is None else environ)
    if given.base is not None:
        variables.pop("REDIS_URL", None)
    if given.redis is not None:
        variables.pop("STORAGE_PATH", None)
    for option, (variable, _) in _OPTIONS.items():
        value = getattr(given, option)
        if value is not None:
            variables[variable] = value
    uid = variables.get("SERVER_UID", "")
    hold()
    return restart_without_secrets(variables, arguments=[uid] if uid.isdigit() else [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="py-code-mode serve",
        description="Run the session server. Settings come from the environment; options go first.",
    )
    for option, (variable, about) in _OPTIONS.items():
        parser.add_argument(f"--{option}", help=f"{about} ({variable})")
    return parser
