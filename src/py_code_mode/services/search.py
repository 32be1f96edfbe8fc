"""One search for every namespace: by meaning and words, over items as the store has them now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from py_code_mode.errors import InvalidArgumentError, SearchUnavailableError
from py_code_mode.search.choose import Lexical, choose_embedder
from py_code_mode.search.embedder import Embedder, Vectors
from py_code_mode.search.lexical import query_terms, readable
from py_code_mode.services.embedding import CollectionVectors, in_thread
from py_code_mode.services.searched import Prepared, Snapshot, Source, index_of, texts_of
from py_code_mode.store.base import VectorStore

if TYPE_CHECKING:
    from py_code_mode.search.index import Index

T = TypeVar("T")

Fallback = Literal["lexical"]

#: Up to this many documents, ranking takes less time than handing it to a thread.
_RANKED_INLINE = 10_000
#: Up to this length a query is embedded inline by the default table, in 0.1 ms.
_EMBEDDED_INLINE_CHARS = 500
#: Items compared between two turns of the event loop.
_COMPARED_AT_ONCE = 500
#: Queries whose vectors are remembered: agents ask the same again, and endpoints cost money.
_MAX_REMEMBERED = 256
#: Questions to a slow embedder at a time; all of them share their threads with the stores.
_MAX_ASKING = 4
#: How long after a failure an embedder is left alone.
_FAILING_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hit(Generic[T]):
    """An item that was found. ``ranking`` is ``lexical`` where words had to do for meaning."""

    item: T
    score: float
    ranking: str | None = None


class Search(Generic[T]):
    """Finds items of one collection; one for a process, shared by all who search there.

    Args:
        kind: the namespace; names the collection among the stored vectors.
        embedder: what makes vectors; None is the default table.
        fallback: ``lexical`` lets searches go by words while the embedder fails, which the log
            and every hit tell; without it they raise.
    """

    def __init__(
        self,
        kind: str,
        vectors: VectorStore,
        *,
        embedder: Embedder | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self._kind = kind
        self._store = vectors
        self._embedder = embedder
        self._fallback = fallback
        self._vectors: CollectionVectors | None = None
        self._snapshot = Snapshot[T](None, {})
        self._asked: dict[str, Vectors] = {}
        self._told = ""
        self._failure: SearchUnavailableError | None = None
        self._failing_until = 0.0
        self._warm = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = self._ended = 0

    async def find(self, source: Source[T], query: str, limit: int) -> list[Hit[T]]:
        """Return the items that fit ``query``, best first, ties by name.

        Raises:
            InvalidArgumentError: for a limit below 1.
            SearchUnavailableError: where there are no vectors to go by, and no fallback.
        """
        if limit < 1:
            raise InvalidArgumentError(
                f"{self._kind}.search() needs a limit of at least 1, not {limit}", parameter="limit"
            )
        embedder = await self._chosen()
        if isinstance(embedder, Lexical):
            return await self._by_words(source, query, limit)
        try:
            found = await self._by_meaning(source, embedder, query, limit)
        except SearchUnavailableError as error:
            self._note_failure(error)
            if self._fallback is None:
                raise
            self._tell(error.message)
            return await self._by_words(source, query, limit, ranking="lexical")
        self._told = ""
        return found

    async def _by_words(
        self, source: Source[T], query: str, limit: int, *, ranking: str | None = None
    ) -> list[Hit[T]]:
        snapshot = await self._current(source)
        if snapshot.words is None:
            snapshot.words = await asyncio.to_thread(snapshot.index_words)
        found = snapshot.words.search(query, limit)
        return [Hit(snapshot.items[position], score, ranking) for position, score in found]

    async def _by_meaning(
        self, source: Source[T], embedder: Embedder, query: str, limit: int
    ) -> list[Hit[T]]:
        snapshot = await self._current(source, embedder)
        index = snapshot.index
        if index is None or not snapshot.items or not query_terms(query):
            return []
        vector = await self._vector(embedder, query)
        if index.size <= _RANKED_INLINE:
            found = index.search(query, vector, limit)
        else:
            found = await asyncio.to_thread(index.search, query, vector, limit)
        return [Hit(snapshot.items[position], score) for position, score in found]

    async def _chosen(self) -> Embedder:
        if self._embedder is None:
            self._embedder = await in_thread(lambda: choose_embedder("static"))
        return self._embedder

    async def _current(self, source: Source[T], embedder: Embedder | None = None) -> Snapshot[T]:
        """Return the items as they are now; callers that wait together share one look."""
        self._enter_loop()
        asked = self._begun
        async with self._lock:
            if self._ended > asked and (embedder is None or self._snapshot.index is not None):
                return self._snapshot
            self._begun += 1
            begun = self._begun
            # Asked before the items: a change in between costs a second look, never a stale one.
            revision = await source.revision()
            if self._snapshot.revision != revision:
                self._snapshot = Snapshot(revision, await self._prepare(source))
            if embedder is not None and self._snapshot.index is None:
                self._refuse_while_failing()
                self._snapshot.index = await self._indexed(self._snapshot.prepared, embedder)
            self._ended = begun
            return self._snapshot

    async def _prepare(self, source: Source[T]) -> dict[str, Prepared[T]]:
        """Read the documents of what is new or changed."""
        before = self._snapshot.prepared
        found: dict[str, Prepared[T]] = {}
        for name, item in (await source.items()).items():
            known = before.get(name)
            if known is None or known.item != item:
                documents = await source.documents(item)
                same = known is not None and known.documents == documents
                known = Prepared(item, documents, known.entries if known and same else ())
            found[name] = known
            if len(found) % _COMPARED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def _indexed(self, prepared: Mapping[str, Prepared[T]], embedder: Embedder) -> Index:
        if self._vectors is None:
            self._vectors = CollectionVectors(self._kind, self._store, embedder)
        texts = await in_thread(lambda: texts_of(prepared.values()))
        rows = await self._vectors.of(texts)
        dim, items = self._vectors.dim, [each.entries for each in prepared.values()]
        return await in_thread(lambda: index_of(items, rows, dim))

    async def _vector(self, embedder: Embedder, query: str) -> Vectors:
        text = readable(query)
        if text not in self._asked:
            from py_code_mode.search.static import StaticEmbedder  # noqa: PLC0415 - numpy is loaded

            quick = isinstance(embedder, StaticEmbedder) and len(text) <= _EMBEDDED_INLINE_CHARS
            if quick and self._warm:
                vector = embedder.embed_query(text)
            else:
                async with self._asking:
                    self._refuse_while_failing()
                    vector = await in_thread(lambda: embedder.embed_query(text))
                self._warm = True
            while len(self._asked) >= _MAX_REMEMBERED:
                del self._asked[next(iter(self._asked))]
            self._asked[text] = vector
        return self._asked[text]

    def _note_failure(self, error: SearchUnavailableError) -> None:
        if error is not self._failure:
            self._failure = error
            self._failing_until = time.monotonic() + _FAILING_S

    def _refuse_while_failing(self) -> None:
        """Raise the last failure again while it is fresh: others wait for their turn to fail."""
        if self._failure is not None and time.monotonic() < self._failing_until:
            raise self._failure

    def _tell(self, why: str) -> None:
        """Say in the log, once for each reason, that searches go by words."""
        if why != self._told:
            self._told = why
            _log.warning("%s are searched by words alone: %s", self._kind, why)

    def _enter_loop(self) -> None:
        """Make what belongs to an event loop anew where it is another one than last time."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock = loop, asyncio.Lock()
            self._asking = asyncio.Semaphore(_MAX_ASKING)
