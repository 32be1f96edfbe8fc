"""A collection kept in memory and brought up to date by one question: what has changed since?

Writers count each change and note the names it touched, so that a reader fetches those alone. The
answer is one moment of the collection: of a bootstrap it has all or nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from py_code_mode.errors import CodeModeError
from py_code_mode.store.redis_keys import RedisKeys, names_after
from py_code_mode.store.redis_link import Attempt, RedisLink
from py_code_mode.store.redis_scripts import script
from py_code_mode.store.redis_watch import RedisWatch
from py_code_mode.store.redis_wire import Argument, Command

T = TypeVar("T")

#: How many names of changed items Redis keeps; a reader further behind reads everything.
KEPT_CHANGES = 1000
_SCAN_COUNT = 1000
_FETCH_AT_ONCE = 500
#: Each round fetches what was changed during the one before.
_MAX_ROUNDS = 10
_log = logging.getLogger(__name__)

#: What decodes the value of an item; None where it is no longer there.
Decoder = Callable[[str, Any], T | None]


@dataclass(slots=True)
class _Seen:
    """What a reader knows: of which epoch, after how many changes."""

    epoch: bytes = b""
    n: int = 0


class RedisCatalog(Generic[T]):
    """All items of one collection, with the token that says whether any has changed.

    Args:
        fields: of the hashes that the items are, or none for strings.
        decode: makes an item of a name and a value.
    """

    def __init__(
        self,
        link: RedisLink,
        keys: RedisKeys,
        watch: RedisWatch,
        kind: str,
        *,
        fields: Sequence[bytes],
        decode: Decoder[T],
    ) -> None:
        self._link = link
        self._keys = keys
        self._watch = watch
        self._kind = kind
        self._prefix = keys.collection(kind)
        self._fields = tuple(fields)
        self._decode = decode
        self._touched = watch.touched[self._prefix]
        self._items: dict[str, T] = {}
        self._seen = _Seen()
        self._whole = False
        #: Counts what was changed without being counted in Redis.
        self._uncounted = 0
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = self._ended = 0
        self._failure: CodeModeError | None = None

    async def items(self) -> dict[str, T]:
        """Return every item, ordered by name."""
        await self._refresh()
        return dict(self._items)

    async def token(self) -> str:
        """Return what differs whenever any item has changed."""
        await self._refresh()
        return f"{self._seen.epoch.decode()}.{self._seen.n}.{self._uncounted}"

    async def fetch(self, names: Iterable[str]) -> dict[str, T]:
        """Return the items of these names as they are now, those that exist, in one round trip."""
        known = list(names)
        if not known:
            return {}
        replies = await self._link.replies([self._command(name) for name in known])
        return self._decoded(zip(known, replies, strict=True))

    async def names(self) -> list[str]:
        """Return the names of all keys of the collection, in no order."""
        return await scan(self._link, self._keys, self._kind)

    async def _refresh(self) -> None:
        """Bring the items up to date; callers that wait together share one question.

        They share its failure too, so that each has waited for one time limit at most.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock, self._failure = loop, asyncio.Lock(), None
        asked, waits = self._begun, self._lock.locked()
        async with self._lock:
            if self._ended > asked:
                return
            if waits and self._failure is not None:
                raise type(self._failure)(self._failure.message, **self._failure.fields)
            self._begun += 1
            begun = self._begun
            try:
                self._failure = None
                await self._catch_up()
            except CodeModeError as error:
                self._failure = error
                raise
            self._ended = begun

    async def _catch_up(self) -> None:
        for _ in range(_MAX_ROUNDS):
            keys, anything = self._touched.take()
            try:
                self._whole = self._whole and not anything
                if self._whole:
                    caught_up = await self._read_changes(names_after(self._prefix, keys))
                else:
                    caught_up = await self._read_everything()
            except BaseException:
                self._whole = False
                raise
            if caught_up and not self._touched.keys and not self._touched.anything:
                return

    async def _read_changes(self, uncounted: Sequence[str]) -> bool:
        """Fetch what was changed; tell whether that could be told."""
        before, reply = self._seen, await self._ask(uncounted)
        if reply is None:
            self._whole = False
            return False
        names, values = reply
        found = self._decoded(zip(names, values, strict=True))
        changed = [name for name in names if self._items.get(name) != found.get(name)]
        for name in names:
            self._items.pop(name, None)
            # What was heard ahead of the answer had happened before it was made.
            self._touched.keys.discard(self._keys.item(self._kind, name))
        self._items |= found
        if changed:
            self._items = dict(sorted(self._items.items()))
            self._uncounted += before == self._seen
        return True

    async def _read_everything(self) -> bool:
        """Read all keys, then what was changed meanwhile; tell whether that could be told."""
        before, seen = self._items, self._seen
        # Asked first, so that nothing from here on is missed.
        while await self._ask(()) is None:
            continue
        self._touched.take()
        names = await self.names()
        self._items = {}
        for start in range(0, len(names), _FETCH_AT_ONCE):
            self._items |= await self.fetch(names[start : start + _FETCH_AT_ONCE])
        self._items = dict(sorted(self._items.items()))
        self._whole = True
        caught_up = await self._read_changes(())
        self._uncounted += self._items != before and self._seen == seen
        return caught_up

    async def _ask(self, names: Sequence[str]) -> tuple[list[str], list[Any]] | None:
        """Return the changed names with their values; None where everything must be read."""
        arguments: tuple[Argument, ...] = (
            self._seen.epoch,
            self._seen.n,
            KEPT_CHANGES,
            self._prefix,
            len(self._fields),
            *self._fields,
            *names,
        )
        keys = [self._keys.revision(self._kind), self._keys.changes(self._kind)]

        async def once(attempt: Attempt) -> Any:
            return await self._link.evaluate(
                self._watch.exchange,
                script("read_changes"),
                keys,
                arguments,
                again=attempt.again,
            )

        epoch, n, whole, *changed = await self._link.attempt(once)
        self._seen = _Seen(epoch, n)
        if not whole:
            return None
        return names_after(b"", changed[0]), changed[1]

    def _command(self, name: str) -> Command:
        key = self._keys.item(self._kind, name)
        return (b"HMGET", key, *self._fields) if self._fields else (b"GET", key)

    def _decoded(self, found: Iterable[tuple[str, Any]]) -> dict[str, T]:
        items = {}
        for name, value in found:
            if isinstance(value, Exception):
                self._pass_over(name, "its key has another type")
                continue
            try:
                item = self._decode(name, value)
            except ValueError as error:
                self._pass_over(name, str(error))
                continue
            if item is not None:
                items[name] = item
        return items

    def _pass_over(self, name: str, why: str) -> None:
        key = self._keys.item(self._kind, name).decode()
        _log.warning("passed over: %r in Redis at %s: %s", key, self._link.address.shown, why)


async def scan(link: RedisLink, keys: RedisKeys, kind: str) -> list[str]:
    """Return the names of all keys of a collection; a name is there at most once."""
    prefix, pattern = keys.collection(kind), keys.pattern(kind)
    found: dict[bytes, None] = {}
    cursor: bytes | int = b"0"
    while True:
        cursor, page = await link.call(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)
        found.update(dict.fromkeys(page))
        if int(cursor) == 0:
            return names_after(prefix, found)
