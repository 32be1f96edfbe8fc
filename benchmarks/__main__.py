"""``python -m benchmarks [--quick] [--only GROUP] [--out DIR] [--no-fail]``: measure and check."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType

from benchmarks import (
    artifacts,
    calls,
    creation,
    egress,
    health,
    host,
    latency,
    memory,
    peers,
    redis_store,
    report,
    retrieval,
    search,
    server,
    tools,
    warm,
)
from benchmarks.busy import busy_cores
from benchmarks.results import Bound, Results
from benchmarks.sampling import Counts

#: Measured while loops of the idle class keep the cores awake.
GROUPS = (creation, warm, calls, memory, latency, peers, artifacts, egress, retrieval)
#: Measured without them: a fresh program of another scheduling group waits for a loop's whole
#: slice, as the groups are equals whatever the class of what is in them.
PROGRAM_GROUPS = (tools, search, redis_store, server, health)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; returns 1 when a bound is missed, 0 otherwise."""
    options = _options(arguments)
    counts = Counts.quick() if options.quick else Counts.full()
    results, facts = asyncio.run(measure(counts, options.only))
    mode = "quick" if options.quick else "full"
    if options.only:
        mode = f"{mode}, {' and '.join(options.only)} only"
    report.write(report.document(results, facts, mode=mode), options.out)
    for bound in results.bounds:
        print(_line(bound))
    for note in results.notes:
        print(note)
    print(f"{options.out}/results.md has the figures.")
    return 1 if results.missed and not options.no_fail else 0


async def measure(counts: Counts, only: Sequence[str] = ()) -> tuple[Results, host.Facts]:
    """Measure every group, or ``only`` some, one after the other."""
    facts = await host.facts()
    results = Results()
    with busy_cores():
        for group in _chosen(GROUPS, only):
            await _measure(group, results, counts)
    for group in _chosen(PROGRAM_GROUPS, only):
        await _measure(group, results, counts)
    return results, facts


def _chosen(groups: Sequence[ModuleType], only: Sequence[str]) -> list[ModuleType]:
    return [group for group in groups if not only or _name(group) in only]


def _name(group: ModuleType) -> str:
    return group.__name__.rpartition(".")[2]


async def _measure(group: ModuleType, results: Results, counts: Counts) -> None:
    name = _name(group)
    started = time.perf_counter()
    await group.measure(results, counts)
    print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, under 20 seconds")
    names = sorted(map(_name, (*GROUPS, *PROGRAM_GROUPS)))
    parser.add_argument(
        "--only", action="append", default=[], choices=names, help="one group; may be repeated"
    )
    parser.add_argument("--no-fail", action="store_true", help="exit 0 though a bound is missed")
    parser.add_argument(
        "--out", default=os.path.relpath(os.path.dirname(__file__)), help="folder for the results"
    )
    return parser.parse_args(arguments)


def _line(bound: Bound) -> str:
    verdict = "pass  " if bound.passed else "MISSED"
    relation = ">=" if bound.at_least else "<="
    return f"{verdict} {bound.title}: {bound.measured:.4g} {bound.unit} {relation} {bound.limit:g}"


if __name__ == "__main__":
    # A session without the sandbox says so at each start; here that is the point.
    logging.getLogger("py_code_mode").setLevel(logging.ERROR)
    sys.exit(main())
