"""Text is split as BERT's uncased tokenizer does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.search.wordpiece import WordPieces, _words, numbered

VOCABULARY = [
    "[UNK]",
    "un",
    "##aff",
    "##able",
    "hello",
    "world",
    "a",
    "##b",
    ",",
    "!",
    "中",
    "文",
    "ß",
]
PIECES = WordPieces(numbered(VOCABULARY))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("unaffable", "un ##aff ##able"),
        ("Hello, WORLD!", "hello , world !"),
        ("héllo wörld", "hello world"),
        ("a\tab\u200bb a\x07b", "a a ##b ##b a ##b"),
        ("hello\u00a0world", "hello world"),
        ("中文hello", "中 文 hello"),
        ("abc", "[UNK]"),
        ("un-aff", "un [UNK] [UNK]"),
        ("ß", "ß"),
        ("a" + "b" * 100, "[UNK]"),
        ("\ud800a", "a"),
        ("", ""),
    ],
)
def test_text_is_split_into_the_longest_pieces(text: str, pieces: str) -> None:
    assert [VOCABULARY[number] for number in PIECES.ids(text)] == pieces.split()


@given(st.text(st.characters(max_codepoint=127)))
def test_the_quick_way_for_ascii_gives_the_same_words(text: str) -> None:
    quick = list(_words(text, lower=True))
    slow = list(_words(text.lower() + " é", lower=True))
    assert [*quick, "e"] == slow


@given(st.text())
def test_any_text_can_be_split(text: str) -> None:
    assert all(0 <= number < len(VOCABULARY) for number in PIECES.ids(text))


def test_endless_words_take_no_time() -> None:
    start = time.perf_counter()
    PIECES.ids("b" * 10_000 + " " + "ab" * 5_000 + "é" * 10_000)
    assert time.perf_counter() - start < 0.5


def test_the_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py_code_mode.search.wordpiece._MAX_REMEMBERED", 10)
    pieces = WordPieces(numbered(VOCABULARY))
    for number in range(100):
        pieces.ids(f"word{number}")
    assert len(pieces._remembered) <= 10
