"""What is searched: the items of one collection, their documents, and the indexes over them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from py_code_mode.search.lexical import Document, LexicalIndex

if TYPE_CHECKING:
    from py_code_mode.search.index import Entry, Index

T = TypeVar("T")


class Source(Protocol[T]):
    """The items of one collection, and what is searched of each."""

    async def revision(self) -> Hashable:
        """Return a token that differs whenever an item has changed; cheap to ask."""

    async def items(self) -> Mapping[str, T]:
        """Return every item by name, in order."""

    async def documents(self, item: T) -> Sequence[Document]:
        """Return what an item is found by; the first is the item itself, the rest its parts."""


@dataclass(slots=True)
class Prepared(Generic[T]):
    """An item, its documents, and what an index by meaning is made of once it is needed."""

    item: T
    documents: Sequence[Document]
    entries: Sequence[Entry] = ()


@dataclass(slots=True)
class Snapshot(Generic[T]):
    """The items of one revision, indexed as far as anybody has needed it."""

    revision: Hashable
    prepared: Mapping[str, Prepared[T]]
    index: Index | None = None
    words: LexicalIndex | None = None
    items: list[T] = field(init=False)

    def __post_init__(self) -> None:
        self.items = [each.item for each in self.prepared.values()]

    def index_words(self) -> LexicalIndex:
        """Return the index by words, which takes as long as reading all texts.

        An item is one document: the name of its first one, and the texts of all.
        """
        return LexicalIndex([_whole(each.documents) for each in self.prepared.values()])


def texts_of(prepared: Iterable[Prepared[Any]]) -> dict[bytes, str]:
    """Prepare what has not been, and return the texts to embed by their hash."""
    from py_code_mode.search.index import Entry  # noqa: PLC0415 - it loads numpy

    texts: dict[bytes, str] = {}
    for each in prepared:
        if not each.entries:
            each.entries = [Entry.of(document) for document in each.documents]
        texts.update((entry.key, entry.text) for entry in each.entries)
    return texts


def index_of(items: Sequence[Sequence[Entry]], rows: Mapping[bytes, bytes], dim: int) -> Index:
    """Return the index over items whose vectors are known; both block, so do it in a thread."""
    from py_code_mode.search.index import Index  # noqa: PLC0415 - it loads numpy

    return Index(items, rows, dim=dim)


def _whole(documents: Sequence[Document]) -> Document:
    first, *parts = documents
    texts = [first.text, *(f"{part.name}\n{part.text}" for part in parts)]
    return Document(first.name, "\n".join(texts))
