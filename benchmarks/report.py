"""Writes a run's results: ``results.json`` for programs, ``results.md``, made of it, for people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.host import Facts
from benchmarks.results import Bound, Figure, Results

Document = dict[str, Any]


def document(results: Results, host: Facts, *, mode: str) -> Document:
    """Return a run as JSON values."""
    return {
        "mode": mode,
        "host": dict(host),
        "figures": {key: _figure(figure) for key, figure in results.figures.items()},
        "bounds": [_bound(bound) for bound in results.bounds],
        "notes": list(results.notes),
    }


def write(made: Document, folder: str) -> None:
    """Write both files into a folder, which is made where it is missing."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(made, indent=1) + "\n")
    with open(os.path.join(folder, "results.md"), "w", encoding="utf-8") as file:
        file.write(markdown(made))


def markdown(made: Document) -> str:
    """Return a document as a page."""
    lines = ["# Benchmark results", "", f"Written by `python -m benchmarks` ({made['mode']} run)."]
    lines += ["What each figure means: [performance](../docs/explanation/performance.md).", ""]
    facts = ((f"{name} | {value}") for name, value in made["host"].items())
    lines += _table("machine | ", facts)
    lines += ["## Bounds", ""]
    lines += _table("bound | measured | must be | ", map(_bound_row, made["bounds"]))
    for group, figures in _by_group(made["figures"]).items():
        lines += [f"## {group}", ""]
        lines += _table("figure | median | p95 | runs", map(_figure_row, figures))
    lines += [f"- {note}" for note in made["notes"]]
    return "\n".join(lines).rstrip("\n") + "\n"


def _figure(figure: Figure) -> Document:
    return {
        "group": figure.group,
        "title": figure.title,
        "unit": figure.unit,
        "runs": figure.runs,
        "median": _digits(figure.median),
        "p95": _digits(figure.p95),
    }


def _bound(bound: Bound) -> Document:
    return {
        "title": bound.title,
        "of": bound.of,
        "against": bound.against,
        "measured": _digits(bound.measured),
        "must_be": "at least" if bound.at_least else "at most",
        "limit": bound.limit,
        "unit": bound.unit,
        "passed": bound.passed,
    }


def _digits(number: float) -> float:
    """Four significant digits: what is beyond them is noise."""
    return float(f"{number:.4g}")


def _by_group(figures: Mapping[str, Document]) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = {}
    for figure in figures.values():
        groups.setdefault(figure["group"], []).append(figure)
    return groups


def _figure_row(figure: Document) -> str:
    unit = figure["unit"]
    median, p95 = (_quantity(figure[name], unit) for name in ("median", "p95"))
    return f"{figure['title']} | {median} | {p95} | {figure['runs']:,}"


def _bound_row(bound: Document) -> str:
    measured = _quantity(bound["measured"], bound["unit"])
    limit = f"{bound['must_be']} {_quantity(bound['limit'], bound['unit'])}"
    verdict = "pass" if bound["passed"] else "**missed**"
    return f"{bound['title']} | {measured} | {limit} | {verdict}"


def _quantity(number: float, unit: str) -> str:
    shown = f"{number:,.0f}" if number >= 1000 else f"{float(f'{number:.3g}'):.12g}"
    return f"{shown}x" if unit == "x" else f"{shown} {unit}"


def _table(head: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"| {head} |"
    yield "|" + "---|" * (head.count("|") + 1)
    yield from (f"| {row} |" for row in rows)
    yield ""
