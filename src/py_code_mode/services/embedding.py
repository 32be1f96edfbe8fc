"""The vectors of one collection: from the store where they are, from the embedder where not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from py_code_mode.errors import CodeModeError, SearchUnavailableError
from py_code_mode.search.embedder import Embedder
from py_code_mode.store.base import VectorStore
from py_code_mode.store.vector_space import VectorSpace

T = TypeVar("T")

#: Texts embedded before what is there is stored: who is stopped loses no more.
_AT_ONCE = 256
#: How many stored vectors of things that are gone are borne.
_MAX_GONE = 64


class CollectionVectors:
    """The vectors one process knows; it asks for new ones only, and sweeps those of gone items."""

    def __init__(self, kind: str, store: VectorStore, embedder: Embedder) -> None:
        self._kind = kind
        self._store = store
        self._embedder = embedder
        self._space: VectorSpace | None = None
        self._known: dict[bytes, bytes] = {}
        self._bytes = 0

    @property
    def dim(self) -> int:
        """How many numbers a vector has; known once any were asked for."""
        return self._bytes // 2

    async def of(self, texts: Mapping[bytes, str]) -> Mapping[bytes, bytes]:
        """Return the float16 vectors of texts by their hash; what is missing is made and stored.

        Raises:
            SearchUnavailableError: from the embedder, or when others take too long to make them.
        """
        if self._space is None:
            self._bytes = 2 * await in_thread(lambda: self._embedder.dim)
            space = VectorSpace(await in_thread(lambda: self._embedder.id), self._kind)
            self._learn(await self._store.load(space))
            self._space = space
        missing = {key: text for key, text in texts.items() if key not in self._known}
        if missing:
            await self._get(self._space, missing)
        await self._sweep(self._space, texts)
        return self._known

    async def _get(self, space: VectorSpace, missing: dict[bytes, str]) -> None:
        self._learn(await self._store.get_many(space, missing))
        if all(key in self._known for key in missing):
            return
        async with self._store.lock(space):
            # Whoever had the lock before has made them, in whole or in part.
            self._learn(await self._store.get_many(space, missing))
            keys = [key for key in missing if key not in self._known]
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                made = await in_thread(partial(self._made, some, missing))
                await self._store.put_many(space, made)
                self._known.update(made)

    def _made(self, keys: list[bytes], texts: Mapping[bytes, str]) -> dict[bytes, bytes]:
        vectors = self._embedder.embed_docs([texts[key] for key in keys])
        if vectors.shape != (len(keys), self.dim):
            raise SearchUnavailableError(
                f"the embedder {self._embedder.id} gave vectors of shape {vectors.shape} for "
                f"{len(keys)} texts, and says that they have {self.dim} numbers"
            )
        rows = vectors.astype("<f2")
        return {key: row.tobytes() for key, row in zip(keys, rows, strict=True)}

    def _learn(self, found: Mapping[bytes, bytes]) -> None:
        """Take vectors; those of another length were made by something else of the same name."""
        right = {key: each for key, each in found.items() if len(each) == self._bytes}
        self._known.update(right)

    async def _sweep(self, space: VectorSpace, live: Mapping[bytes, str]) -> None:
        if len(self._known) - len(live) <= max(_MAX_GONE, len(live) // 4):
            return
        gone = [key for key in self._known if key not in live]
        await self._store.remove(space, gone)
        for key in gone:
            del self._known[key]


async def in_thread(work: Callable[[], T]) -> T:
    """Do what may block in a thread; whatever goes wrong there is told in one kind of error."""
    try:
        return await asyncio.to_thread(work)
    except CodeModeError:
        raise
    except Exception as error:  # an embedder may be anybody's code
        raise SearchUnavailableError(
            f"the embedder failed: {error!r}; correct it, or choose another with EMBEDDINGS"
        ) from error
