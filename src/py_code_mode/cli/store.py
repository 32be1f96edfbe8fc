"""``py-code-mode store …`` and ``python -m py_code_mode.store …``: fill, list, pull and compare.

Exit codes: 0 fine; 1 items are bad, missing or differ; 2 wrong use, or the store is away. It is
argparse, not the framework of the other commands, because deploy scripts wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn

from py_code_mode.bootstrap.items import KINDS, BadItemsError, Item, NothingFoundError
from py_code_mode.bootstrap.moves import Batch, bootstrap, compare, pull, read_source
from py_code_mode.bootstrap.places import Target, folder_of, open_target
from py_code_mode.cli.store_report import Report
from py_code_mode.cli.store_secrets import Secrets
from py_code_mode.errors import CodeModeError, ConfigurationError

_TRUE = frozenset({"1", "true", "yes", "on"})


class _WrongUseError(Exception):
    """Raised when arguments cannot be understood; they may have secrets."""


class _Parser(argparse.ArgumentParser):
    """A parser that leaves it to its caller what to print of a complaint."""

    def error(self, message: str) -> NoReturn:
        raise _WrongUseError(f"{self.format_usage()}{self.prog}: error: {message}")


def main(
    arguments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    program: str = "py-code-mode store",
) -> int:
    """Run one command; returns its exit code. ``arguments`` default to the process's own."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    words = sys.argv[1:] if arguments is None else arguments
    variables = os.environ if environ is None else environ
    secrets = Secrets([*words, variables.get("REDIS_URL", "")])
    try:
        chosen = _parser(program, variables).parse_args(words)
    except _WrongUseError as error:
        sys.stderr.write(f"{secrets.hide(str(error))}\n")
        return 2
    return _complete(chosen, Report(as_json=chosen.json), secrets)


def _complete(chosen: argparse.Namespace, report: Report, secrets: Secrets) -> int:
    try:
        code = asyncio.run(_run(chosen, report))
        sys.stdout.flush()
    except BadItemsError as error:
        report.bad_items(error)
        return 1
    except CodeModeError as error:
        report.failure(error.code, secrets.hide(str(error)))
        return 1 if isinstance(error, NothingFoundError) else 2
    except BrokenPipeError:  # whoever reads, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


async def _run(chosen: argparse.Namespace, report: Report) -> int:
    if not chosen.target:
        raise ConfigurationError("give --target, a Redis URL or a folder, or set REDIS_URL")
    target = open_target(
        chosen.target, chosen.type, prefix=chosen.prefix, allow_insecure=chosen.allow_insecure
    )
    try:
        command: Callable[..., Awaitable[int]] = chosen.command
        return await command(chosen, target, report)
    finally:
        await target.aclose()


async def _bootstrap(chosen: argparse.Namespace, target: Target, report: Report) -> int:
    if chosen.source is None and not (chosen.type == "deps" and chosen.deps):
        raise ConfigurationError("give --source, or --type deps with --deps SPEC")
    specs = [Item("", spec, file="--deps", line=at) for at, spec in enumerate(chosen.deps, start=1)]
    items = [] if chosen.source is None else await _source(chosen)
    if chosen.type == "deps":
        items, specs = [*items, *specs], []
    batches = [Batch(items, target.place(chosen.type), clear=chosen.clear)]
    if specs:
        batches.append(Batch(specs, target.place("deps")))
    with report.progress(f"checking {chosen.type}", len(items)) as progress:
        moved = await bootstrap(batches, dry_run=chosen.dry_run, progress=progress)
    report.moved(moved)
    return 0


async def _list(chosen: argparse.Namespace, target: Target, report: Report) -> int:
    place = target.place(chosen.type)
    report.items(place.shown, place.kind, await place.all())
    return 0


async def _pull(chosen: argparse.Namespace, target: Target, report: Report) -> int:
    place = target.place(chosen.type)
    items = await pull(place, folder_of(chosen.dest))
    report.pulled(chosen.dest, place.kind, items)
    return 0


async def _diff(chosen: argparse.Namespace, target: Target, report: Report) -> int:
    items = await _source(chosen)
    moved = await compare(items, target.place(chosen.type))
    report.moved([moved], compared=True)
    return 1 if moved.changes.any else 0


async def _source(chosen: argparse.Namespace) -> list[Item]:
    return await read_source(
        chosen.source,
        chosen.type,
        prefix=chosen.source_prefix or chosen.prefix,
        allow_insecure=chosen.allow_insecure,
    )


def _parser(program: str, environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(prog=program, description="Fill a store, and see what is in it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = _common(environ)
    fill = commands.add_parser(
        "bootstrap", parents=[common], help="save a folder's items, all or none"
    )
    fill.add_argument("--clear", action="store_true", help="remove what the source no longer has")
    fill.add_argument(
        "--deps", action="extend", nargs="+", default=[], metavar="SPEC", help="packages to add"
    )
    fill.add_argument("--dry-run", action="store_true", help="show the changes, make none")
    fill.set_defaults(command=_bootstrap)
    show = commands.add_parser("list", parents=[common], help="show what is there")
    show.set_defaults(command=_list)
    save = commands.add_parser("pull", parents=[common], help="write what is there to a folder")
    save.add_argument("--dest", required=True, metavar="DIR", help="the folder")
    save.set_defaults(command=_pull)
    compared = commands.add_parser(
        "diff", parents=[common], help="show what a bootstrap --clear would change; exit 1 if any"
    )
    compared.set_defaults(command=_diff)
    for command, required in ((fill, False), (compared, True)):
        command.add_argument(
            "--source", required=required, metavar="PATH", help="a folder or a Redis URL"
        )
        command.add_argument("--source-prefix", metavar="P", help="of a Redis source")
    return parser


def _common(environ: Mapping[str, str]) -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument(
        "--target",
        default=environ.get("REDIS_URL"),
        metavar="URL",
        help="a Redis URL or a storage folder; REDIS_URL where it is not given",
    )
    common.add_argument(
        "--prefix", default="agent", metavar="P", help="of the keys, like agent or agent:tools"
    )
    common.add_argument("--type", choices=KINDS, default="skills", help="default: skills")
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument(
        "--allow-insecure",
        action="store_true",
        default=environ.get("ALLOW_INSECURE_REDIS", "").strip().lower() in _TRUE,
        help="accept a Redis on the network that has no password",
    )
    return common
