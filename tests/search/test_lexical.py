"""Lexical ranking: identifiers are words, names weigh more, order is stable, nothing is slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.search.lexical import Document, LexicalIndex, terms

DOCUMENTS = [
    Document("analyze_repo", "Count the lines of a Git repository."),
    Document("parseCSVFile", "Read a table."),
    Document("fetch_page", "Download a page and return its tables."),
    Document("send_mail", "Send a message to a person."),
]
INDEX = LexicalIndex(DOCUMENTS)


def names(query: str, limit: int = 10) -> list[str]:
    return [DOCUMENTS[position].name for position, _ in INDEX.search(query, limit)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("analyze_repo", "analyz repo"),
        ("parseCSVFile", "pars csv fil"),
        ("HTTPServer2", "http server2"),
        ("base64Encode", "base64 encod"),
        ("queries query", "queri queri"),
        ("boxes box caches cache classes class", "box box cach cach class class"),
        ("status statuses analysis", "status status analysis"),
        ("GRÖSSE Größe", "gröss gröss"),
        ("ГородаМира городМир", "города мира город мир"),
        ("\uff26\uff49\uff4c\uff45", "fil"),
        ("日本 語", "日本 語"),
        ("-- __ !", ""),
    ],
)
def test_text_is_split_into_stems(text: str, words: str) -> None:
    assert list(terms(text)) == words.split()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("csv", ["parseCSVFile"]),
        ("parse csv files", ["parseCSVFile"]),
        ("table", ["parseCSVFile", "fetch_page"]),
        ("page", ["fetch_page"]),
        ("how do I send a mail to the boss", ["send_mail"]),
        ("repositories", ["analyze_repo"]),
        ("unheard", []),
        ("", []),
        ("?!", []),
    ],
)
def test_documents_are_found_by_their_words(query: str, found: list[str]) -> None:
    assert names(query) == found


def test_a_word_of_the_name_weighs_more_than_one_of_the_text() -> None:
    index = LexicalIndex([Document("first", "mail mail"), Document("mail", "first thing")])
    assert [position for position, _ in index.search("mail")] == [1, 0]


def test_a_query_of_stop_words_alone_still_searches() -> None:
    assert names("to") == ["send_mail"]


def test_equal_scores_keep_the_order_of_the_documents() -> None:
    index = LexicalIndex([Document(f"item_{i}", "same") for i in range(20)])
    assert [position for position, _ in index.search("same", 5)] == [0, 1, 2, 3, 4]


def test_repeating_a_word_of_the_query_changes_nothing() -> None:
    assert INDEX.search("table table Tables") == INDEX.search("table")


def test_an_index_without_documents_or_words_finds_nothing() -> None:
    assert LexicalIndex([]).search("x") == []
    assert LexicalIndex([Document("", "")]).search("x") == []


def test_a_long_query_over_many_documents_is_fast() -> None:
    index = LexicalIndex([Document(f"skill_{i}", f"word{i % 50} common text") for i in range(1000)])
    query = " ".join(f"word{i}" for i in range(2000))[:10_000]
    start = time.process_time()
    for _ in range(10):
        assert len(index.search(query * 10)) == 10
    assert time.process_time() - start < 2


@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_indexed_and_asked(text: str, query: str) -> None:
    found = LexicalIndex([Document(text, text)]).search(query)
    assert found == [] or (found[0][0] == 0 and found[0][1] > 0)
