"""The arithmetic and the pages of the benchmarks; what they measure is theirs to show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.memory import pss_mb
from benchmarks.results import Figure, Results
from benchmarks.sampling import Tally, interleave


def a_run() -> Results:
    results = Results()
    results.add("ours", "Runs", "ours", "ms", [0.3, 0.1, 0.2])
    results.add("theirs", "Runs", "theirs", "ms", [3.0, 1.0, 2.0])
    results.limit("ours is fast", "ours", 0.25)
    results.ratio("theirs against ours", "theirs", "ours", 20, at_least=True)
    results.notes.append("One thing was not measured.")
    return results


def test_a_figure_has_the_middle_and_the_95th_of_a_hundred_samples() -> None:
    figure = Figure("key", "Group", "title", "ms", tuple(float(n) for n in range(100, 0, -1)))
    assert (figure.runs, figure.median, figure.p95) == (100, 50.5, 95.0)


def test_one_sample_is_its_own_median_and_p95() -> None:
    figure = Figure("key", "Group", "title", "ms", (2.0,))
    assert (figure.median, figure.p95) == (2.0, 2.0)


def test_a_figure_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Results().add("key", "Group", "title", "ms", [])


def test_a_figure_is_measured_once() -> None:
    results = a_run()
    with pytest.raises(ValueError, match="twice"):
        results.add("ours", "Runs", "again", "ms", [1.0])


@pytest.mark.parametrize(
    ("limit", "at_least", "passed"),
    [(0.2, False, True), (0.19, False, False), (0.2, True, True), (0.21, True, False)],
)
def test_a_bound_is_reached_at_its_limit(limit: float, at_least: bool, passed: bool) -> None:
    results = a_run()
    results.limit("ours", "ours", limit, at_least=at_least)
    assert results.bounds[-1].passed is passed


def test_a_ratio_and_a_difference_compare_medians() -> None:
    results = a_run()
    results.ratio("ratio", "theirs", "ours", 10)
    results.difference("difference", "theirs", "ours", 2)
    assert [bound.measured for bound in results.bounds[-2:]] == pytest.approx([10.0, 1.8])


def test_figures_of_two_units_are_not_compared() -> None:
    results = a_run()
    results.add("memory", "Memory", "memory", "MB", [1.0])
    with pytest.raises(ValueError, match="memory is in MB and ours in ms"):
        results.ratio("nonsense", "memory", "ours", 1)


def test_the_missed_bounds_are_those_that_were_not_reached() -> None:
    assert [bound.title for bound in a_run().missed] == ["theirs against ours"]


def test_both_files_tell_the_same_run(tmp_path: Path) -> None:
    made = report.document(a_run(), {"cores": 2, "python": "3.11.2"}, mode="quick")
    report.write(made, str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == made
    assert (tmp_path / "out" / "results.md").read_text() == report.markdown(made)


def test_the_page_shows_each_bound_with_its_verdict_and_each_figure_with_its_runs() -> None:
    made = report.document(a_run(), {"cores": 2}, mode="full")
    page = report.markdown(made).splitlines()
    assert [line for line in page if line.startswith("| ")] == [
        "| machine |  |",
        "| cores | 2 |",
        "| bound | measured | must be |  |",
        "| ours is fast | 0.2 ms | at most 0.25 ms | pass |",
        "| theirs against ours | 10x | at least 20x | **missed** |",
        "| figure | median | p95 | runs |",
        "| ours | 0.2 ms | 0.3 ms | 3 |",
        "| theirs | 2 ms | 3 ms | 3 |",
    ]
    assert page[-1] == "- One thing was not measured."


def test_a_bound_in_the_document_names_both_sides() -> None:
    made = report.document(a_run(), {}, mode="full")
    assert made["bounds"][1] == {
        "title": "theirs against ours",
        "of": "theirs",
        "against": "ours",
        "measured": 10.0,
        "must_be": "at least",
        "limit": 20,
        "unit": "x",
        "passed": False,
    }


def test_large_numbers_are_shown_whole_and_small_ones_with_three_digits() -> None:
    results = Results()
    results.add("rate", "Calls", "calls", "1/s", [15_432.1])
    results.add("time", "Calls", "time", "ms", [0.012345])
    page = report.markdown(report.document(results, {}, mode="full"))
    assert "| calls | 15,430 1/s | 15,430 1/s | 1 |" in page
    assert "| time | 0.0123 ms | 0.0123 ms | 1 |" in page


async def test_cases_take_turns_and_warm_up_rounds_are_not_counted() -> None:
    order: list[str] = []

    async def one(tally: Tally) -> None:
        order.append("one")
        tally.add("one", 1.0)

    async def two(tally: Tally) -> None:
        order.append("two")
        tally.add("two", 0.001)

    tally = await interleave([one, two], rounds=2, warm_up=1)
    assert order == ["one", "two", "one", "two", "two", "one"]
    assert tally.scaled("one", 1) == [1.0, 1.0]
    assert tally.scaled("two", 1000) == [1.0, 1.0]


def test_the_proportional_size_is_read_in_megabytes() -> None:
    assert pss_mb("Rss:   9000 kB\nPss:   2000 kB\nPss_Anon:   1500 kB\n") == 2.048


def test_a_rollup_without_a_proportional_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="no Pss"):
        pss_mb("Rss: 9000 kB\n")
