"""The questions of the retrieval benchmark are what they say, and the tiers reach their bounds."""

from __future__ import annotations

import os

import pytest

from benchmarks.retrieval import (
    MINILM,
    PARAPHRASE,
    by_meaning,
    by_words,
    read_data,
    recall,
)
from py_code_mode.search.choose import choose_embedder
from py_code_mode.search.lexical import query_terms, terms

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


@pytest.mark.skipif(MINILM not in os.environ, reason=f"{MINILM} names no folder with the model")
def test_minilm_reaches_its_bound() -> None:
    ranking = by_meaning(ITEMS, choose_embedder(f"dir:{os.environ[MINILM]}"))
    assert recall(ranking, QUESTIONS, 5) >= 0.90
