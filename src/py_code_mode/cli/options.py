"""The options that ``run``, ``serve`` and ``mcp`` share: what each is, and which variable it is.

An option goes before its variable. ``serve`` takes all of these variables from the environment;
``run`` and ``mcp`` take from there what is no place (``READ_BY_ALL``), so that a REDIS_URL that
happens to be set does not decide where they keep things.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Final

from py_code_mode.variables import DEFAULT_BASE, seconds

#: What an option is, and the variable that it stands for.
SHARED: Final[Mapping[str, tuple[str, str]]] = {
    "base": (
        f"folder with tools/, skills/, artifacts/ and requirements.txt (default: {DEFAULT_BASE})",
        "STORAGE_PATH",
    ),
    "redis": (
        "URL of a Redis to use instead; - takes that of REDIS_URL, where `ps` does not show it",
        "REDIS_URL",
    ),
    "prefix": ("what the keys in Redis begin with (default: agent)", "REDIS_PREFIX"),
    "timeout": (
        "seconds that a run may take unless it asks for a time of its own (default: 60)",
        "EXECUTION_TIMEOUT",
    ),
    "json": ("write what is logged as JSON, an object a line", "LOG_FORMAT"),
    "allow-build": ("build packages that have no wheel, in a jail", "DEPS_ALLOW_BUILD"),
}
#: The variables that each of the commands takes from its environment.
READ_BY_ALL: Final = ("DEPS_ALLOW_BUILD", "LOG_FORMAT")


def about(option: str) -> str:
    """Return what an option is, as a sentence."""
    said = SHARED[option][0]
    return f"{said[0].upper()}{said[1:]}."


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Give a parser the shared options; what is not given is None or False."""
    place = parser.add_mutually_exclusive_group()
    for option, metavar in {"base": "DIR", "redis": "URL", "prefix": "P", "timeout": "S"}.items():
        group = place if option in {"base", "redis"} else parser
        read = number_of_seconds if option == "timeout" else str
        group.add_argument(f"--{option}", metavar=metavar, type=read, help=_told(option))
    for option in ("json", "allow-build"):
        parser.add_argument(f"--{option}", action="store_true", help=_told(option))


def read(
    parser: argparse.ArgumentParser, arguments: Sequence[str], environ: Mapping[str, str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """Return what is given, and the variables that the shared options stand for.

    Exits with 2 for wrong use.
    """
    given = parser.parse_args(arguments)
    try:
        return given, variables_of(given, environ)
    except ValueError as error:
        parser.error(str(error))


def variables_of(given: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the given options stand for, and no others.

    Raises:
        ValueError: says which option cannot work, and why.
    """
    found = place_of(given.base, given.redis, environ)
    if given.prefix is not None:
        found["REDIS_PREFIX"] = given.prefix
    if given.timeout is not None:
        found["EXECUTION_TIMEOUT"] = str(given.timeout)
    if given.json:
        found["LOG_FORMAT"] = "json"
    if given.allow_build:
        found["DEPS_ALLOW_BUILD"] = "true"
    return found


def place_of(base: str | None, redis: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return STORAGE_PATH or REDIS_URL as two options say; neither where none was given.

    Raises:
        ValueError: says which option cannot work, and why.
    """
    if base is not None and redis is not None:
        raise ValueError("--base and --redis are two places; give one")
    if base is not None:
        if not base:
            raise ValueError("--base needs the name of a folder")
        return {"STORAGE_PATH": os.path.abspath(base)}
    if redis is None:
        return {}
    url = environ.get("REDIS_URL") if redis == "-" else redis
    if not url:
        raise ValueError("--redis - needs the variable REDIS_URL")
    return {"REDIS_URL": url}


def number_of_seconds(text: str) -> float:
    """Return a time over 0. Raises ValueError."""
    return seconds(text)


number_of_seconds.__name__ = "number of seconds"  # what argparse calls it in its message


def _told(option: str) -> str:
    return "{} [{}]".format(*SHARED[option])
