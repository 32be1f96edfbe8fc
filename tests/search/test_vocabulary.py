"""A vocabulary that is read as far as it is needed knows what a dict of all of it knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.retrieval import read_data
from py_code_mode.search import vocabulary
from py_code_mode.search.static import DATA, StaticEmbedder
from py_code_mode.search.vocabulary import Vocabulary
from py_code_mode.search.wordpiece import WordPieces, numbered

LINES = (DATA / "vocab.txt").read_bytes()
ALL = numbered(LINES.decode().split("\n"))

#: Few letters, so that pieces have beginnings in common; some are of several bytes.
piece = st.text("#ab\u00e9\u4e2d", max_size=5)


@pytest.mark.parametrize("many", [0, 10, 10**9])
def test_every_piece_of_the_table_has_its_number(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "_MANY", many)
    found = Vocabulary(LINES)
    assert {piece: found.get(piece) for piece in ALL} == ALL


@pytest.mark.parametrize(
    "text", ["", "#", "##", "a\n", "\n", "\ud800", "##\ud800", "zqxj", "x" * 999]
)
def test_what_is_no_piece_has_none(text: str) -> None:
    assert Vocabulary(LINES).get(text) == ALL.get(text)


@given(st.lists(piece, min_size=1, unique=True), st.lists(piece))
def test_it_is_as_a_dict(pieces: Sequence[str], asked: Sequence[str]) -> None:
    found, expected = Vocabulary("\n".join(pieces).encode()), numbered(pieces)
    for text in [*asked, *pieces]:
        assert found.get(text) == expected.get(text)


def test_vectors_are_those_of_a_dict_to_the_bit() -> None:
    items, questions = read_data()
    texts = [*(item.text for item in items), *(question.text for question in questions)]
    lazy, whole = StaticEmbedder(), StaticEmbedder()
    whole.__dict__["_pieces"] = WordPieces(ALL)
    one_by_one = np.array([lazy.embed_query(text) for text in texts])
    assert one_by_one.tobytes() == whole.embed_docs(texts).tobytes()
    assert StaticEmbedder().embed_docs(texts).tobytes() == one_by_one.tobytes()


def test_a_query_opens_a_few_drawers_and_queries_without_end_no_more_than_there_are() -> None:
    found = Vocabulary(LINES)
    pieces = WordPieces(found)
    assert pieces.ids("take a picture") == [ALL["take"], ALL["a"], ALL["picture"]]
    assert len(found._open) < 20
    for code in range(0x3400, 0x4000):
        found.get(chr(code))
    assert len(found._open) < 20
