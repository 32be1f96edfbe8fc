"""Scores are cosine + 0.3 x (idf coverage) squared, in a stable order."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.search.index import Entry, Index
from py_code_mode.search.lexical import Document, query_terms, readable, terms
from py_code_mode.search.ranking import MIN_SCORE, Coverage, best, hashed
from py_code_mode.search.static import StaticEmbedder

TABLE = StaticEmbedder()
DOCUMENTS = [
    Document("analyze_repo", "Count the lines of a Git repository."),
    Document("parseCSVFile", "Read a table."),
    Document("fetch_page", "Download a page and return its tables."),
    Document("翻译", "把文本翻译成英文"),
]
WORDS = st.lists(st.sampled_from(["red", "green", "blue", "table", "file", "page"]), max_size=6)


def index_of(*items: list[Document]) -> Index:
    entries = [[Entry.of(document) for document in item] for item in items]
    flat = [entry for item in entries for entry in item]
    rows = TABLE.embed_docs([entry.text for entry in flat]).astype(np.float16)
    vectors = {entry.key: row.tobytes() for entry, row in zip(flat, rows, strict=True)}
    return Index(entries, vectors, dim=TABLE.dim)


INDEX = index_of(*([document] for document in DOCUMENTS))


def search(query: str, limit: int = 10, index: Index = INDEX) -> list[tuple[int, float]]:
    return index.search(query, TABLE.embed_query(readable(query)), limit)


def plain_score(query: str, document: Document) -> float:
    """The formula, written out."""
    wanted = query_terms(query)
    held = [{*terms(each.name), *terms(each.text)} for each in DOCUMENTS]
    own = held[DOCUMENTS.index(document)]
    weights = {}
    for term in wanted:
        having = sum(term in each for each in held)
        weights[term] = math.log(1 + (len(held) - having + 0.5) / (having + 0.5))
    covered = sum(weights[term] for term in wanted if term in own) / sum(weights.values())
    text = f"{readable(document.name)}. {readable(document.text)}"
    cosine = float(TABLE.embed_query(text) @ TABLE.embed_query(readable(query)))
    return cosine + 0.3 * covered**2


@pytest.mark.parametrize("query", ["count lines", "read the table", "tables of a page", "翻译"])
def test_scores_follow_the_formula(query: str) -> None:
    found = dict(search(query))
    for position, document in enumerate(DOCUMENTS):
        score = plain_score(query, document)
        if position in found or score > MIN_SCORE + 0.01:
            assert found[position] == pytest.approx(score, abs=2e-3)  # vectors are float16


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("analyze_repo", "analyze_repo"),
        ("analyzeRepo", "analyze_repo"),
        ("ANALYZE REPO", "analyze_repo"),
        ("statistics of source code", "analyze_repo"),
        ("parse_csv_file", "parseCSVFile"),
        ("visit a website", "fetch_page"),
        ("翻译", "翻译"),
        ("英文", "翻译"),
    ],
)
def test_identifiers_meanings_and_other_scripts_are_found(query: str, name: str) -> None:
    assert DOCUMENTS[search(query)[0][0]].name == name


def test_equal_documents_are_told_in_their_order() -> None:
    index = index_of(*([Document("same", "The same.")] for _ in range(50)))
    assert [position for position, _ in search("same", 7, index)] == list(range(7))


def test_an_item_is_found_by_any_of_its_documents_and_once() -> None:
    index = index_of(
        [Document("other", "Something else.")],
        [
            Document("curl", "Transfer data."),
            Document("curl get", "Fetch a web page."),
            Document("curl mail", "Send an email."),
        ],
        [Document("post_box", "Send an email to a friend.")],
    )
    assert {position for position, _ in search("send email", index=index)[:2]} == {1, 2}
    found = [position for position, _ in search("web page mail", index=index)]
    assert found.count(1) == 1


def test_a_damaged_vector_hides_nothing_but_itself() -> None:
    entries = [
        [Entry.of(Document("good", "A good one."))],
        [Entry.of(Document("bad", "A bad one."))],
    ]
    good, bad = (entry.key for (entry,) in entries)
    row = TABLE.embed_query(entries[0][0].text).astype(np.float16).tobytes()
    damaged = np.full(TABLE.dim, np.nan, np.float16).tobytes()
    index = Index(entries, {good: row, bad: damaged}, dim=TABLE.dim)
    assert search("good one", index=index)[0][0] == 0
    assert (1, 0.3) in search("bad", index=index)


def test_an_empty_index_finds_nothing() -> None:
    assert search("anything", index=index_of()) == []


@given(st.lists(WORDS, min_size=1, max_size=8), WORDS)
def test_coverage_is_a_share(documents: list[list[str]], query: list[str]) -> None:
    found = Coverage([hashed(words) for words in documents]).of(hashed(query))
    for share, words in zip(found.tolist(), documents, strict=True):
        assert -1e-6 <= share <= 1 + 1e-6
        if query and set(query) <= set(words):
            assert share == pytest.approx(1)
        if not set(query) & set(words):
            assert share == 0


@given(
    st.lists(st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.2001, 0.7, 1.3]), max_size=40),
    st.integers(1, 50),
)
def test_the_best_are_those_of_a_full_sort(values: list[float], limit: int) -> None:
    found = np.array(values, np.float32)
    expected = sorted(range(len(values)), key=lambda n: (-found[n], n))
    expected = [n for n in expected if found[n] >= np.float32(MIN_SCORE)][:limit]
    told = best(found, limit)
    assert [position for position, _ in told] == expected
    assert all(first[1] >= second[1] for first, second in pairwise(told))
