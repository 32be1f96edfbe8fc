"""Fill a Redis with tools, skills and packages in one go, before the apps are deployed.

REDIS_URL says where; a command line would show its password to everyone on the machine:

    REDIS_URL="rediss://:KEY@HOST:10000/0" python bootstrap_redis.py --deps 'requests>=2.0'

All items are checked first: where one is bad, its file and line are printed and nothing is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from py_code_mode.bootstrap.items import Item
from py_code_mode.bootstrap.moves import Batch, bootstrap, read_source
from py_code_mode.bootstrap.places import open_target
from py_code_mode.errors import CodeModeError

SHARED = Path(__file__).resolve().parent.parent / "shared"


async def fill(url: str, options: argparse.Namespace) -> None:
    """Bring what the folders and the command line have to the store at ``url``."""
    prefix = options.prefix
    target = open_target(url, "tools", prefix=prefix)
    try:
        batches = [
            Batch(await read_source(options.tools, "tools", prefix=prefix), target.place("tools")),
            Batch(
                await read_source(options.skills, "skills", prefix=prefix), target.place("skills")
            ),
            Batch(
                [Item("", spec, file="--deps", line=at) for at, spec in enumerate(options.deps, 1)],
                target.place("deps"),
            ),
        ]
        for moved in await bootstrap(batches, dry_run=options.dry_run):
            changes = moved.changes
            print(
                f"{moved.target}: {len(changes.added)} added, {len(changes.changed)} changed, "
                f"{len(changes.unchanged)} unchanged"
            )
    finally:
        await target.aclose()


def main() -> int:
    """Run the script; returns 0, or 1 where nothing could be done."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--tools", default=str(SHARED / "tools"), help="a folder of YAML files")
    parser.add_argument("--skills", default=str(SHARED / "skills"), help="a folder of Python files")
    parser.add_argument("--deps", nargs="*", default=[], metavar="SPEC", help="packages to add")
    parser.add_argument("--prefix", default="agent", help="what all keys begin with")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    options = parser.parse_args()
    url = os.environ.get("REDIS_URL")
    if not url:
        parser.error("set REDIS_URL, like rediss://:PASSWORD@HOST:PORT/0")
    try:
        asyncio.run(fill(url, options))
    except CodeModeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
