"""Ranking by words: BM25 over names and descriptions, without a model or a library."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: How much more a word of the name says than one of the text.
_NAME_WEIGHT = 3.0
#: Saturation and length normalisation, the usual values (Robertson & Zaragoza, 2009).
_K1, _B = 1.2, 0.75
#: What is read of one text or query; more is cut, so that none can take the time of all.
MAX_CHARS, _MAX_QUERY_TERMS = 10_000, 64
_WORDS = re.compile(r"[^\W_]+")
#: Thai to Khmer, Chinese and Japanese, Korean.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
)
_STOP_WORDS = (
    "a an and are as at be by can do for from how i in is it of on or that the this to with"
)


@dataclass(frozen=True, slots=True)
class Document:
    """What is searched: a name, which weighs more, and any text."""

    name: str
    text: str


class LexicalIndex:
    """An immutable index over documents; build a new one when they change."""

    def __init__(self, documents: Sequence[Document]) -> None:
        counted = [_weights(document) for document in documents]
        lengths = [sum(weights.values()) for weights in counted]
        average = sum(lengths) / len(lengths) if lengths else 0.0
        frequency = Counter(term for weights in counted for term in weights)
        self._postings: dict[str, list[tuple[int, float]]] = {}
        for position, weights in enumerate(counted):
            room = _K1 * (1 - _B + _B * lengths[position] / average) if average else _K1
            for term, weight in weights.items():
                score = idf(frequency[term], len(counted)) * weight * (_K1 + 1) / (weight + room)
                self._postings.setdefault(term, []).append((position, score))

    def search(self, query: str, limit: int = 10) -> list[tuple[int, float]]:
        """Return ``(position, score)`` of the best documents, best first, ties in their order.

        A query without a word that some document has finds nothing.
        """
        scores: dict[int, float] = {}
        for term in query_terms(query):
            for position, score in self._postings.get(term, ()):
                scores[position] = scores.get(position, 0.0) + score
        ranked = sorted(scores.items(), key=lambda found: (-found[1], found[0]))
        return [(position, round(score, 4)) for position, score in ranked[:limit]]


def terms(text: str) -> Iterator[str]:
    """Yield the stems of a text's words; ``parseCSVFiles`` and ``parse_csv_file`` are the same.

    A run of a script that has no spaces between its words gives its pairs of characters.
    """
    for match in _WORDS.finditer(unicodedata.normalize("NFKC", text[:MAX_CHARS])):
        for part in _parts(match.group()):
            if part.isascii() or _UNSPACED.search(part) is None:
                yield _stem(part.casefold())
            else:
                yield from _pairs(part.casefold())


def query_terms(query: str) -> list[str]:
    """Return distinct terms in order; stop words only where there is nothing else."""
    found = list(dict.fromkeys(terms(query)))
    return ([term for term in found if term not in _STOP_TERMS] or found)[:_MAX_QUERY_TERMS]


def readable(text: str) -> str:
    """Return a text with its identifiers split: ``analyzeRepo`` becomes ``analyze Repo``."""
    # Lone surrogates have no UTF-8, which models behind a server are asked in.
    text = text[:MAX_CHARS].encode(errors="replace").decode()
    text = unicodedata.normalize("NFKC", text).replace("_", " ")
    return _WORDS.sub(lambda match: " ".join(_parts(match.group())), text)


def _weights(document: Document) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text, weight in ((document.name, _NAME_WEIGHT), (document.text, 1.0)):
        for term in terms(text):
            weights[term] = weights.get(term, 0.0) + weight
    return weights


def idf(having: int, total: int) -> float:
    """Return what a term says that ``having`` of ``total`` documents have."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def _parts(word: str) -> Iterator[str]:
    """Split ``parseCSVFile`` into ``parse``, ``CSV``, ``File``, in any script that has case."""
    start = 0
    for i in range(1, len(word)):
        if word[i].isupper() and (not word[i - 1].isupper() or word[i + 1 : i + 2].islower()):
            yield word[start:i]
            start = i
    yield word[start:]


def _pairs(run: str) -> Iterator[str]:
    yield from (run[i : i + 2] for i in range(max(1, len(run) - 1)))


def _stem(word: str) -> str:
    """Bring singular and plural together: ``query`` and ``queries``, ``cache`` and ``caches``."""
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return f"{word[:-1]}i" if len(word) > 2 and word.endswith("y") else word


_STOP_TERMS = frozenset(terms(_STOP_WORDS))
