"""One immutable index over items, each of which is found by any of its documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

import numpy as np

from py_code_mode.search.embedder import Vectors
from py_code_mode.search.lexical import Document, query_terms, readable, terms
from py_code_mode.search.ranking import Coverage, Terms, best, hashed, scores

#: A content hash: of the text that is embedded.
KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A document prepared once: the text that is embedded, its hash, and its terms."""

    document: Document
    text: str
    key: bytes
    terms: Terms

    @classmethod
    def of(cls, document: Document) -> Entry:
        """Prepare a document."""
        text = f"{readable(document.name)}. {readable(document.text)}"
        key = blake2b(text.encode(errors="replace"), digest_size=KEY_BYTES).digest()
        words = (*terms(document.name), *terms(document.text))
        return cls(document, text, key, hashed(words))


class Index:
    """Items by position; ``vectors`` has a float16 row for the key of every entry.

    Args:
        items: the entries of each item, one at least.
        vectors: rows by key, each of dim x 2 bytes.
    """

    def __init__(
        self, items: Sequence[Sequence[Entry]], vectors: Mapping[bytes, bytes], *, dim: int
    ) -> None:
        entries = [entry for item in items for entry in item]
        rows = b"".join([vectors[entry.key] for entry in entries])
        self._matrix = np.frombuffer(rows, np.float16).reshape(len(entries), dim)
        self._matrix = self._matrix.astype(np.float32)
        self._coverage = Coverage([entry.terms for entry in entries])
        self._firsts = _firsts(items)
        self.size = len(entries)

    def search(self, query: str, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        """Return ``(position, score)`` of the best items, best first, ties in their order."""
        if not self.size:
            return []
        # Not ``@``: its threads wait for each other, for milliseconds where the cores are busy.
        cosines: Vectors = np.vecdot(self._matrix, vector)
        found = scores(cosines, self._coverage.of(hashed(query_terms(query))))
        if self._firsts is not None:
            found = np.maximum.reduceat(found, self._firsts)
        return best(found, limit)


def _firsts(items: Sequence[Sequence[Entry]]) -> Sequence[int] | None:
    """Return where each item's entries begin; None where each has one."""
    if all(len(item) == 1 for item in items):
        return None
    return list(accumulate((len(item) for item in items[:-1]), initial=0))
