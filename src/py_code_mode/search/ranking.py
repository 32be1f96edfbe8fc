"""How well documents answer a question: cosine + 0.3 x (idf coverage) squared.

The cosine finds what means the same. The coverage, the share of the question's words that a
document has (rare words count more), puts names and exact words first; squared, so that one common
word in five does little. Adding the two ranked better here than merging two ranked lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from py_code_mode.search.embedder import Vectors
from py_code_mode.search.lexical import idf

#: How much a document that has all the words gains.
COVERAGE_WEIGHT = 0.3
#: Below it, likeness is chance.
MIN_SCORE = 0.1
#: Scores are told, and compared, to this many digits: what differs less is a tie.
DIGITS = 4

Terms = NDArray[np.int64]


class Coverage:
    """Which documents have which terms; a term is the hash of its text in this process.

    Args:
        terms: the distinct terms of each document.
    """

    def __init__(self, terms: Sequence[Terms]) -> None:
        self._documents = len(terms)
        lengths = [len(each) for each in terms]
        flat = np.concatenate(terms) if terms else np.empty(0, np.int64)
        order = np.argsort(flat, kind="stable")
        self._terms = flat[order]
        self._holders = np.repeat(np.arange(len(terms), dtype=np.int32), lengths)[order]

    def of(self, query: Terms) -> Vectors:
        """Return the share, by idf, of the query's terms in each document, float32 of 0 to 1.

        A term that no document has counts too: a question of which one word in two is known is
        answered by half.
        """
        found = np.zeros(self._documents, np.float32)
        starts = np.searchsorted(self._terms, query, "left").tolist()
        ends = np.searchsorted(self._terms, query, "right").tolist()
        total = 0.0
        for start, end in zip(starts, ends, strict=True):
            weight = idf(end - start, self._documents)
            total += weight
            found[self._holders[start:end]] += weight
        return found / np.float32(total) if total else found


def hashed(terms: Sequence[str]) -> Terms:
    """Return the distinct terms as numbers; others in every process, and never stored."""
    return np.array([hash(term) for term in dict.fromkeys(terms)], np.int64)


def scores(cosines: Vectors, coverage: Vectors) -> Vectors:
    """Return the score of each document, float32, rounded to DIGITS.

    A cosine that is no number, of a damaged vector, counts as none.
    """
    cosines = np.nan_to_num(cosines, nan=0.0, posinf=0.0, neginf=0.0)
    return np.round(cosines + COVERAGE_WEIGHT * np.square(coverage), DIGITS)


def best(found: Vectors, limit: int) -> list[tuple[int, float]]:
    """Return ``(position, score)`` of the highest scores over MIN_SCORE, ties in their order."""
    floor = MIN_SCORE
    if limit < len(found):
        floor = max(floor, float(np.partition(found, len(found) - limit)[len(found) - limit]))
    candidates = np.flatnonzero(found >= floor)
    order = np.argsort(-found[candidates], kind="stable")[:limit]
    return [(int(at), round(float(found[at]), DIGITS)) for at in candidates[order]]
