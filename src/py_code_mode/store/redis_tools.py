"""Tool definitions as strings: ``<prefix>:tools:<name>`` is the YAML text."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from py_code_mode.errors import StorageUnavailableError, ToolError
from py_code_mode.store.names import is_tool_name, tool_name, tool_not_found
from py_code_mode.store.redis_catalog import KEPT_CHANGES, RedisCatalog
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_scripts import script
from py_code_mode.store.redis_watch import RedisWatch


class RedisTools:
    """The definitions below one prefix. One that cannot be read never hides the others."""

    def __init__(self, link: RedisLink, keys: RedisKeys, watch: RedisWatch) -> None:
        self._link = link
        self._keys = keys
        self._catalog = RedisCatalog[str](link, keys, watch, "tools", fields=(), decode=_decoded)

    async def add(self, name: str, text: str) -> None:
        """Save or replace ``name``.

        Raises:
            InvalidArgumentError: for a name that no back end can keep.
            StorageFullError, StorageUnavailableError: from Redis.
        """
        await self.replace({name: text})

    async def get(self, name: str) -> str:
        """Return the text of ``name``. Raises ToolNotFoundError; ToolError if it is no text."""
        value = None
        if is_tool_name(name):
            key = self._keys.item("tools", name)
            value = await self._link.call(b"GET", key, key=key.decode())
        if value is None:
            raise tool_not_found(name, await self._catalog.items())
        try:
            return bytes(value).decode()
        except UnicodeDecodeError as error:
            raise ToolError(f"tool {name!r} in Redis is not UTF-8 text: {error}") from error

    async def list(self) -> dict[str, str]:
        """Return every definition that can be read, ordered by name; the log names the others."""
        return await self._catalog.items()

    async def remove(self, name: str) -> None:
        """Remove ``name``. Raises ToolNotFoundError."""
        if not is_tool_name(name) or not await self._write({}, [name]):
            raise tool_not_found(name, await self._catalog.items())

    async def revision(self) -> str:
        """Return a token of the changes; one round trip where there was none."""
        return await self._catalog.token()

    async def current(self, names: Iterable[str]) -> dict[str, str]:
        """Return the texts of these names, those that exist, in one round trip."""
        return await self._catalog.fetch(names)

    async def names(self) -> frozenset[str]:
        """Return every name there is."""
        return frozenset(filter(is_tool_name, await self._catalog.names()))

    async def replace(self, texts: Mapping[str, str], *, remove: Iterable[str] = ()) -> None:
        """Save ``texts`` and remove other names in one step and one round trip.

        Raises:
            ToolNotFoundError: if one to remove is not there; nothing is changed then.
        """
        gone = list(remove)
        if not await self._write(texts, gone):
            raise tool_not_found(", ".join(gone), ())

    async def _write(self, texts: Mapping[str, str], remove: Iterable[str]) -> bool:
        """Change the names; tell whether all that were to be removed were there."""
        items: list[tuple[str, str, bytes]] = []
        for name, text in texts.items():
            items.append(("save", tool_name(name), _encoded(name, text)))
        items.extend(("remove", name, b"") for name in remove)
        if not items:
            return True
        keys = [self._keys.revision("tools"), self._keys.changes("tools")]
        keys += [self._keys.item("tools", name) for _, name, _ in items]
        answer: Any = await self._link.script(
            script("write_tools"),
            keys,
            [secrets.token_hex(8), KEPT_CHANGES, *(part for item in items for part in item)],
            size=sum(len(text) for _, _, text in items),
        )
        if answer[0] == b"type":
            key = keys[1 + int(answer[1])].decode()
            raise wrong_type(key, self._link)
        return bool(answer[0] == b"done")


def wrong_type(key: str, link: RedisLink) -> StorageUnavailableError:
    """Return the error for a key that somebody else uses for something else."""
    return StorageUnavailableError(
        f"Redis at {link.address.shown} has a key of another type, {key!r}: delete or rename it, "
        "or use another prefix"
    )


def _decoded(name: str, value: Any) -> str | None:
    if value is None or not is_tool_name(name):
        return None
    return bytes(value).decode()


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"tool {name!r} cannot be stored as UTF-8: {error}") from error
