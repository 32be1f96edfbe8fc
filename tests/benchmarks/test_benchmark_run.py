"""One run of the whole programme with hardly any samples: everything it drives still works."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.results import Results
from benchmarks.sampling import Counts

ONE_OF_EACH = Counts(
    creations=1,
    warm_rounds=1,
    warm_block=2,
    call_rounds=1,
    calls=2,
    sessions=2,
    interrupts=1,
    kernel_starts=1,
    peer_runs=1,
    saves=1,
)
Main = Callable[[list[str]], int]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Main:
    """The programme's entry point, with hardly any samples for ``--quick``."""
    for library in ("ipykernel", "jupyter_client", "pydantic_monty"):
        pytest.importorskip(library, reason="needs the bench extra: pip install '.[bench]'")
    monkeypatch.setattr(Counts, "quick", lambda: ONE_OF_EACH)
    programme = importlib.import_module("benchmarks.__main__")
    found: Main = programme.main
    return found


@pytest.mark.timeout(180)  # it takes 30 s alone, and the machine may have other work
def test_a_run_writes_every_group_and_no_path(main: Main, tmp_path: Path) -> None:
    assert main(["--quick", "--no-fail", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "results.json").read_text()
    made = json.loads(text)
    assert made["mode"] == "quick"
    assert len({figure["group"] for figure in made["figures"].values()}) >= 7
    assert all(figure["runs"] >= 1 for figure in made["figures"].values())
    assert all(bound["of"] in made["figures"] for bound in made["bounds"])
    text += (tmp_path / "results.md").read_text()
    assert os.uname().nodename not in text
    assert not re.search(r"/(tmp|home|root|usr|work)\b", text)


def test_one_group_can_be_measured_alone(main: Main, tmp_path: Path) -> None:
    assert main(["--quick", "--no-fail", "--only", "warm", "--out", str(tmp_path)]) == 0
    made = json.loads((tmp_path / "results.json").read_text())
    assert made["mode"] == "quick, warm only"
    assert len({figure["group"] for figure in made["figures"].values()}) == 1
    with pytest.raises(SystemExit):
        main(["--only", "never"])


@pytest.mark.parametrize(
    ("arguments", "code"), [([], 1), (["--no-fail"], 0)], ids=["as it is", "no-fail"]
)
def test_a_missed_bound_is_the_exit_code_unless_told_otherwise(
    main: Main, arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_counts: Counts, _only: list[str]) -> tuple[Results, dict[str, str | int]]:
        results = Results()
        results.add("slow", "Group", "slow", "ms", [2.0])
        results.limit("fast enough", "slow", 1.0)
        return results, {}

    monkeypatch.setattr("benchmarks.__main__.measure", slow)
    assert main([*arguments, "--out", str(tmp_path)]) == code
