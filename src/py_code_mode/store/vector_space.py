"""What every back end says of stored vectors alike: where they belong, and how long a wait is."""

from __future__ import annotations

from dataclasses import dataclass

from py_code_mode.errors import SearchUnavailableError

#: How long a content hash is.
KEY_BYTES = 16
#: How long a searcher waits for another that makes the vectors it needs.
LOCK_WAIT_S = 60.0
#: Vectors of an embedder that nobody has used for so long are removed.
UNUSED_DAYS = 30


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The vectors that one embedder made of one collection, like ``skills``.

    ``embedder`` is its id: any text; ``kind`` is one of our own words.
    """

    embedder: str
    kind: str


def still_being_made(space: VectorSpace) -> SearchUnavailableError:
    """Return the error of a searcher that has waited for another long enough."""
    return SearchUnavailableError(
        f"another process has been making the search vectors of {space.kind} "
        f"({space.embedder[:80]}) for more than {LOCK_WAIT_S:.0f} s; they are kept as they are "
        "made: search again in a while"
    )
