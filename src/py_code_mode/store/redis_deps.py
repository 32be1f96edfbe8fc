"""Package specs as the plain set ``<prefix>:deps``, to which any client may SADD."""

from __future__ import annotations

from collections.abc import Iterable

from py_code_mode.store.names import dep_spec
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_wire import Command

#: An alias, because the class below has a method named list.
Specs = list[str]


class RedisDeps:
    """The specs of one prefix."""

    def __init__(self, link: RedisLink, keys: RedisKeys) -> None:
        self._link = link
        self._key = keys.deps

    async def add(self, *specs: str) -> None:
        """Add specs; adding one that is there changes nothing. Raises InvalidDepError."""
        await self.replace(specs)

    async def list(self) -> Specs:
        """Return the specs, sorted; what is no UTF-8 is shown escaped, and refused by its user."""
        members = await self._link.call(b"SMEMBERS", self._key, key=self._key.decode())
        return sorted(member.decode(errors="backslashreplace") for member in members)

    async def remove(self, *specs: str) -> None:
        """Remove exactly these strings; absent ones change nothing."""
        await self.replace((), remove=specs)

    async def replace(self, specs: Iterable[str], *, remove: Iterable[str] = ()) -> None:
        """Add specs and remove others in one step. Raises InvalidDepError."""
        new = [dep_spec(spec).encode() for spec in specs]
        gone = [spec.encode(errors="replace") for spec in remove]
        commands: list[Command] = [(b"SREM", self._key, *gone)] if gone else []
        commands += [(b"SADD", self._key, *new)] if new else []
        if len(commands) > 1:
            commands = [(b"MULTI",), *commands, (b"EXEC",)]
        if commands:
            await self._link.pipeline(commands, key=self._key.decode())
