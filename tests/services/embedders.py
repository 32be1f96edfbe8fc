"""Embedders for tests: they count what they are given, and fail when told to."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from py_code_mode.search.embedder import Vectors


class CountingEmbedder:
    """Gives every word a direction of its own, and remembers the texts it was given."""

    def __init__(self, name: str = "counting", *, dim: int = 64, log: str = "") -> None:
        self.id = name
        self.dim = dim
        self.docs: list[str] = []
        self.queries: list[str] = []
        self.failure: Exception | None = None
        self.pause_s = 0.0
        self._log = log

    def embed_docs(self, texts: Sequence[str]) -> Vectors:
        """Count texts, also in a file that several processes share."""
        self._fail()
        self.docs += texts
        if self._log:
            descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, b"".join(text.split()[0].encode() + b"\n" for text in texts))
            os.close(descriptor)
        return self._vectors(texts)

    def embed_query(self, text: str) -> Vectors:
        """Count the query."""
        self._fail()
        self.queries.append(text)
        vector: Vectors = self._vectors([text])[0]
        return vector

    def _fail(self) -> None:
        time.sleep(self.pause_s)
        if self.failure is not None:
            raise self.failure

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        found = np.zeros((len(texts), self.dim), np.float32)
        for number, text in enumerate(texts):
            for word in text.lower().replace(".", " ").split():
                direction = blake2b(word.encode(), digest_size=self.dim).digest()
                found[number] += np.frombuffer(direction, np.int8)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-9))
        return found
