"""The default tier: a table of word-piece vectors, summed. Where it is from: data/MODEL_CARD.md."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from py_code_mode.search.embedder import Vectors
from py_code_mode.search.lexical import MAX_CHARS
from py_code_mode.search.vocabulary import Vocabulary
from py_code_mode.search.wordpiece import WordPieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).with_name("data")
#: Texts whose word pieces are looked up together; bounds the memory that takes.
_AT_ONCE = 512


class StaticEmbedder:
    """A vector per word piece, summed and brought to length 1; microseconds per text.

    The table is loaded by the first text and stays; it is mapped, so processes share it.
    """

    #: The end is the blake2b of the three data files; a test compares.
    id = "static-128d-4c2a2757"
    dim = 128

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def embed_docs(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (texts, 128)."""
        found = np.zeros((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            self._sum(texts[start : start + _AT_ONCE], found[start : start + _AT_ONCE])
        lengths = np.sqrt(np.einsum("ij,ij->i", found, found))
        found /= np.where(lengths > 0, lengths, 1)[:, None]
        return found

    def embed_query(self, text: str) -> Vectors:
        """Return a float32 vector of shape (128,)."""
        vector: Vectors = self.embed_docs([text])[0]
        return vector

    def load(self) -> None:
        """Read the table, if that has not been done; texts need it."""
        with self._lock:
            _ = self._table, self._pieces

    def _sum(self, texts: Sequence[str], into: Vectors) -> None:
        self.load()
        pieces, (rows, scales) = self._pieces, self._table
        known = [
            [number for number in pieces.ids(text[:MAX_CHARS]) if number != pieces.unknown]
            for text in texts
        ]
        having = [position for position, numbers in enumerate(known) if numbers]
        if having:
            flat = np.array([number for numbers in known for number in numbers])
            ends = list(accumulate(len(known[position]) for position in having))
            weighted = rows[flat] * scales[flat, None]
            into[having] = np.add.reduceat(weighted, [0, *ends[:-1]], axis=0)

    @cached_property
    def _pieces(self) -> WordPieces:
        return WordPieces(Vocabulary((DATA / "vocab.txt").read_bytes()))

    @cached_property
    def _table(self) -> tuple[NDArray[np.int8], Vectors]:
        """The rows as int8, and what each is multiplied with."""
        rows = np.load(DATA / "table.npy", mmap_mode="r")
        return rows, np.load(DATA / "scales.npy").astype(np.float32)
