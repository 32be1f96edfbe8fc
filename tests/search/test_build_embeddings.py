"""The script that rebuilds the default table, on a tiny model and a few lines of WordNet."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from .tiny_bert import VOCABULARY, write_model

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_embeddings.py"

NOUNS = """\
  1 This software and database is being provided to you, the LICENSEE, by Princeton University
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived to have its own existence
00002137 03 n 02 abstraction 0 abstract_entity 0 001 @ 00001740 n 0000 | a general concept; "he \
loved her only in the abstract--not in person"; "too short"
00003553 03 n 02 whole 0 unit(a) 0 000 | an assemblage of parts; "how big is that part"
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_embeddings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_embeddings"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{part}").write_text(NOUNS if part == "noun" else "")
    return folder


def test_glosses_examples_and_synonyms_are_read(script: ModuleType, wordnet: Path) -> None:
    assert list(script._glosses(wordnet)) == [
        "entity: that which is perceived to have its own existence",
        "abstraction, abstract entity: a general concept",
        "he loved her only in the abstract--not in person",
        "abstraction, abstract entity",
        "whole, unit: an assemblage of parts",
        "how big is that part",
        "whole, unit",
    ]


def test_a_table_is_built_that_can_take_the_place_of_ours(
    script: ModuleType, wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "model")
    (tmp_path / "lines.txt").write_text(
        "\n".join(f"read the file number {n} now" for n in range(99))
    )
    out = tmp_path / "out"
    given = {"model": model, "wordnet": wordnet, "sentences": tmp_path / "lines.txt", "out": out}
    paths = [f"--{name}={path}" for name, path in given.items()]
    script.main([*paths, "--dim=4", "--epochs=30"])
    table, scales = np.load(out / "table.npy"), np.load(out / "scales.npy")
    pieces = (out / "vocab.txt").read_text().split("\n")
    assert pieces == VOCABULARY
    assert (table.dtype.name, table.shape) == ("int8", (len(pieces), 4))
    assert (scales.dtype.name, scales.shape) == ("float16", (len(pieces),))
    assert np.abs(table).max() == 127
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert len(losses) == 30
    assert losses[-1] < losses[0]


def test_the_gradient_is_the_slope_of_the_loss(script: ModuleType) -> None:
    dice = np.random.default_rng(3)
    table = dice.normal(size=(7, 3))
    flat, starts = np.array([0, 1, 1, 4, 5, 2, 6]), np.array([0, 3, 5])
    goals = dice.normal(size=(3, 3))
    goals /= np.linalg.norm(goals, axis=1, keepdims=True)
    gradient, _ = script._gradient(table, flat, starts, goals)
    for place in np.ndindex(table.shape):
        step = np.zeros_like(table)
        step[place] = 1e-6
        above = script._gradient(table + step, flat, starts, goals)[1]
        below = script._gradient(table - step, flat, starts, goals)[1]
        assert gradient[place] == pytest.approx((above - below) / 2e-6, abs=1e-6)
