"""Skills as hashes: ``<prefix>:skills:<name>`` is the current version, ``versions:`` the others."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from py_code_mode.errors import InvalidSkillError, StorageFullError
from py_code_mode.store.base import KEPT_VERSIONS, StoredSkill
from py_code_mode.store.names import (
    check_removable,
    check_replaceable,
    is_skill_name,
    skill_name,
    skill_not_found,
    utc_text,
)
from py_code_mode.store.redis_catalog import KEPT_CHANGES, RedisCatalog
from py_code_mode.store.redis_keys import RedisKeys
from py_code_mode.store.redis_link import RedisLink
from py_code_mode.store.redis_scripts import script
from py_code_mode.store.redis_tools import wrong_type
from py_code_mode.store.redis_usage import RedisUsage
from py_code_mode.store.redis_watch import RedisWatch

#: An alias, because the class below has a method named list.
Skills = list[StoredSkill]

_FIELDS = (b"source", b"description", b"version", b"author", b"origin", b"created_at")


@dataclass(frozen=True, slots=True)
class NewSkill:
    """A skill to save, or a new version of one."""

    name: str
    source: str
    description: str = ""
    author: str = ""
    origin: str = "bootstrap"
    overwrite: bool = False
    replaceable: frozenset[str] | None = None


class RedisSkills:
    """The skills below one prefix. One that cannot be read never hides the others."""

    def __init__(
        self, link: RedisLink, keys: RedisKeys, watch: RedisWatch, usage: RedisUsage
    ) -> None:
        self._link = link
        self._keys = keys
        self._usage = usage
        self._catalog = RedisCatalog[StoredSkill](
            link, keys, watch, "skills", fields=_FIELDS, decode=_decoded
        )

    async def add(
        self,
        name: str,
        source: str,
        *,
        description: str = "",
        author: str = "",
        origin: str = "bootstrap",
        overwrite: bool = False,
        replaceable: frozenset[str] | None = None,
    ) -> StoredSkill:
        """Save a new skill or version in one step.

        Raises:
            SkillExistsError, SkillProtectedError: as the protocol says.
            InvalidSkillError: for an impossible name or source.
            StorageFullError, StorageUnavailableError: from Redis, or over the limit.
        """
        new = NewSkill(name, source, description, author, origin, overwrite, replaceable)
        return (await self.replace([new]))[0]

    async def get(self, name: str, version: int | None = None) -> StoredSkill:
        """Return the current (or the given) version.

        Raises:
            SkillNotFoundError: as the protocol says.
            InvalidSkillError: if its source is not UTF-8 text.
        """
        if not is_skill_name(name):
            raise skill_not_found(name, ())
        key = self._keys.item("skills", name)
        commands: list[Sequence[bytes]] = [(b"HMGET", key, *_FIELDS)]
        if version is not None:
            versions = self._keys.versions(name)
            commands += [(b"HGET", versions, b"%d" % version), (b"HKEYS", versions)]
        values, *older = await self._link.pipeline(commands, key=key.decode())
        return await self._chosen(name, version, values, older)

    async def list(self) -> Skills:
        """Return every skill that can be read, ordered by name; the log names the others."""
        return list((await self._catalog.items()).values())

    async def remove(self, name: str, *, removable: frozenset[str] | None = None) -> None:
        """Remove ``name`` and its versions. Raises SkillNotFoundError, SkillProtectedError."""
        if not is_skill_name(name):
            raise skill_not_found(name, ())
        await self.replace([], remove=[name], removable=removable)

    async def revision(self) -> str:
        """Return a token of the changes; one round trip where there was none."""
        return await self._catalog.token()

    async def current(self, names: Iterable[str]) -> dict[str, StoredSkill]:
        """Return the skills of these names, those that exist, in one round trip."""
        return await self._catalog.fetch(names)

    async def names(self) -> frozenset[str]:
        """Return every name there is."""
        return frozenset(filter(is_skill_name, await self._catalog.names()))

    async def replace(
        self,
        skills: Sequence[NewSkill],
        *,
        remove: Iterable[str] = (),
        removable: frozenset[str] | None = None,
    ) -> Skills:
        """Save ``skills`` and remove others in one step; returns the saved ones.

        Raises:
            SkillExistsError, SkillProtectedError, SkillNotFoundError: nothing is changed then.
        """
        when, gone = utc_text(), list(remove)
        items = [_saving(new, when) for new in skills]
        items += [_removing(name, removable) for name in gone]
        if not items:
            return []
        answer = await self._write(items)
        if answer[0] == b"full" and await self._usage.recount():
            answer = await self._write(items)
        if answer[0] != b"done":
            await self._refuse(answer, [*skills, *gone], removable)
        versions = answer[1][: len(skills)]
        return [_stored(new, int(n), when) for new, n in zip(skills, versions, strict=True)]

    async def overwrite(
        self, skills: Iterable[tuple[str, str, str]], *, remove: Iterable[str] = ()
    ) -> Skills:
        """Save ``(name, source, description)`` over what there is, as ``replace`` does."""
        new = [NewSkill(*skill, overwrite=True) for skill in skills]
        return await self.replace(new, remove=remove)

    async def _write(self, items: Sequence[tuple[bytes, ...]]) -> Any:
        keys = [
            self._keys.revision("skills"),
            self._keys.changes("skills"),
            self._keys.sizes,
        ]
        for _, name, *_ in items:
            keys += [self._keys.item("skills", name.decode()), self._keys.versions(name.decode())]
        return await self._link.script(
            script("write_skills"),
            keys,
            [
                secrets.token_hex(8),
                KEPT_CHANGES,
                KEPT_VERSIONS,
                self._usage.limit,
                *(part for item in items for part in item),
            ],
            size=sum(len(part) for item in items for part in item),
        )

    async def _refuse(
        self, answer: Any, items: Sequence[NewSkill | str], removable: frozenset[str] | None
    ) -> None:
        problem, at = bytes(answer[0]), int(answer[1])
        if problem == b"full":
            raise self._full(at)
        item = items[at - 1]
        name = item if isinstance(item, str) else item.name
        if problem == b"type":
            raise wrong_type(self._keys.item("skills", name).decode(), self._link)
        if problem == b"missing":
            raise skill_not_found(name, await self._catalog.items())
        there = StoredSkill(name, "", "", int(answer[2]), "", answer[3].decode(), "")
        if isinstance(item, str):
            check_removable(there, removable)
        else:
            check_replaceable(there, overwrite=item.overwrite, replaceable=item.replaceable)

    def _full(self, total: int) -> StorageFullError:
        return self._usage.full(total, "the skill")

    async def _chosen(
        self, name: str, version: int | None, values: Any, older: Sequence[Any]
    ) -> StoredSkill:
        try:
            current = _decoded(name, values)
            if current is None:
                raise skill_not_found(name, await self._catalog.items())
            if version is None or version == current.version:
                return current
            record, kept = older
            if record is not None:
                return _former(name, record)
        except UnicodeDecodeError as error:
            raise InvalidSkillError(f"skill {name!r} is not UTF-8 text: {error}") from error
        numbers = [*map(int, kept), current.version]
        raise skill_not_found(name, [name], version, numbers)


def _saving(new: NewSkill, when: str) -> tuple[bytes, ...]:
    try:
        return (
            b"save",
            skill_name(new.name).encode(),
            new.source.encode(),
            new.description.encode(),
            new.author.encode(),
            new.origin.encode(),
            when.encode(),
            b"1" if new.overwrite else b"0",
            _origins(new.replaceable),
        )
    except UnicodeEncodeError as error:
        raise InvalidSkillError(f"skill {new.name!r} cannot be stored as UTF-8: {error}") from error


def _removing(name: str, removable: frozenset[str] | None) -> tuple[bytes, ...]:
    return (b"remove", name.encode(), *[b""] * 6, _origins(removable))


def _origins(changeable: frozenset[str] | None) -> bytes:
    return b"*" if changeable is None else f",{','.join(sorted(changeable))},".encode()


def _stored(new: NewSkill, version: int, when: str) -> StoredSkill:
    return StoredSkill(new.name, new.source, new.description, version, new.author, new.origin, when)


def _decoded(name: str, values: Sequence[bytes | None]) -> StoredSkill | None:
    """Return a skill; what a person's HSET left out is empty, and the skill is the operator's."""
    if not is_skill_name(name) or not any(value is not None for value in values):
        return None
    source, description, version, author, origin, when = ((v or b"").decode() for v in values)
    number = int(version) if version.isdecimal() else 1
    return StoredSkill(name, source, description, number, author, origin or "config", when)


def _former(name: str, record: bytes) -> StoredSkill:
    return StoredSkill(name=name, **json.loads(record))
