"""User ids for sessions: one each, from a high random base, used again only after the wipe."""

from __future__ import annotations

import secrets
from typing import Final

_LOWEST: Final = 200_000_000
_SPAN: Final = 1_000_000_000
_COUNT: Final = 100_000


class Uids:
    """Hands out uids that no account and no other host on this machine is likely to have."""

    def __init__(self) -> None:
        self._base = _LOWEST + secrets.randbelow(_SPAN)
        self._next = 1
        self._free: list[int] = []

    @property
    def probe(self) -> int:
        """A uid of this range that no session gets, to try whether uids can be had at all."""
        return self._base

    def take(self) -> int:
        """Return a uid that no living session has."""
        if self._free:
            return self._free.pop()
        if self._next > _COUNT:
            raise RuntimeError(f"more than {_COUNT:,} sessions live at once")
        self._next += 1
        return self._base + self._next - 1

    def give_back(self, uid: int) -> None:
        """Take a uid back whose processes and files are gone."""
        self._free.append(uid)
