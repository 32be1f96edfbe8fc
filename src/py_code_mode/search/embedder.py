"""What turns texts into vectors: the protocol every tier fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]
else:
    # Who only names an embedder does not load numpy, which takes as long as the rest of a start.
    Vectors = Any


class Embedder(Protocol):
    """A model that gives texts of like meaning vectors of like direction.

    All of it may block (files are read, a server is asked) and is called from several threads.
    Every vector has length 1, or 0 for a text of which the model knows no part.
    """

    @property
    def id(self) -> str:
        """What names the model and its version: vectors of two ids are never compared."""

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""

    def embed_docs(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts that are to be found, float32 of shape (texts, dim).

        Raises:
            SearchUnavailableError: when the model does not answer; says what to do.
        """

    def embed_query(self, text: str) -> Vectors:
        """Return the vector of a question, float32 of shape (dim,). Raises as embed_docs."""
