"""The skills namespace: keep, find and describe skills. Running one is the guest's business."""

from __future__ import annotations

import asyncio
import keyword
import unicodedata
from collections import OrderedDict
from hashlib import blake2b

from py_code_mode.errors import (
    InvalidSkillError,
    SkillWritesDisabledError,
)
from py_code_mode.models import SkillDetail, SkillRecord
from py_code_mode.search.lexical import Document
from py_code_mode.services.operation import operation, operation_names
from py_code_mode.services.search import Search
from py_code_mode.services.skill_source import SkillSource, read_skill
from py_code_mode.store.base import SkillStore, StoredSkill
from py_code_mode.store.memory import MemoryVectors
from py_code_mode.store.names import MAX_SEGMENT_BYTES, is_skill_name, skill_not_found
from py_code_mode.text import check_description, one_line, plain, quoted

#: Who calls when agent code does; every other origin acts for the operator or the API's client.
AGENT = "agent"
#: The origins of skills that agent code may overwrite and delete.
_AGENTS_MAY_CHANGE = frozenset({AGENT, "api"})
#: What the guest's side adds to the namespace's methods.
_GUEST_METHODS = frozenset({"invoke", "invoke_async", "call_async"})
#: Beyond this many skills a listing parses some of them again.
_MAX_READ = 2048

# Annotations below a method called ``list`` need another name for the type.
SkillRecords = list[SkillRecord]
_AllDescribed = list[tuple[StoredSkill, SkillSource]]


class SkillsService:
    """Operations on the skills of one store, for callers of one origin; holds no session's state.

    ``writes_allowed=False`` stops agent code, and nobody else, from creating and deleting.
    ``search`` is shared by all services of the store; without one, vectors stay in memory.
    """

    def __init__(
        self,
        store: SkillStore,
        *,
        origin: str,
        writes_allowed: bool = True,
        search: Search[StoredSkill] | None = None,
    ) -> None:
        self._store = store
        self._origin = origin
        self._writes_allowed = writes_allowed or origin != AGENT
        self._changeable = _AGENTS_MAY_CHANGE if origin == AGENT else None
        self._read = ReadSources()
        self._search = search or Search("skills", MemoryVectors())

    @operation
    async def create(
        self,
        name: str,
        source: str,
        description: str = "",
        overwrite: bool = False,  # noqa: FBT001, FBT002 - the signature agents know
    ) -> SkillRecord:
        """Save Python source that defines ``run(...)`` as a skill.

        Args:
            name: a Python identifier.
            source: a module; its docstring describes it, run's hints and docstring its parameters.
            description: what to say of it instead of the docstring.
            overwrite: make a new version if it exists; the last 20 are kept.

        Raises:
            InvalidSkillError: the name or the source is not acceptable; says which line.
            SkillExistsError: it exists and ``overwrite`` was not given.
            SkillProtectedError: the operator provided it.
        """
        self._check_writable()
        _check_name(name)
        check_description(description)
        read = await self._read(source)
        if read.problem is not None:
            fields = {} if read.line is None else {"line": read.line}
            raise InvalidSkillError(f"skill {name!r}: {read.problem}", **fields)
        stored = await self._store.add(
            name,
            source,
            description=description,
            author=self._origin,
            origin=self._origin,
            overwrite=overwrite,
            replaceable=self._changeable,
        )
        return _record(stored, read)

    @operation
    async def get(self, name: str, version: int | None = None) -> SkillDetail:
        """Return a skill with its source, at its current or a kept earlier version.

        Raises:
            SkillNotFoundError: there is no such skill or version; names close matches.
        """
        await self._check_known(name)
        stored = await self._store.get(name, version)
        read = await self._read(stored.source)
        record = _record(stored, read)
        whole = {**record, "description": plain(_description(stored, read))}
        return SkillDetail(**whole, source=stored.source)

    @operation
    async def list(self) -> SkillRecords:
        """Return every skill, ordered by name."""
        return [_record(*described) for described in await self._described()]

    @operation
    async def search(self, query: str, limit: int = 10) -> SkillRecords:
        """Return the skills that fit ``query`` by meaning, best first, each with a ``score``.

        Raises:
            SearchUnavailableError: the operator's choice of embeddings does not work now.
        """
        hits = await self._search.find(_Searched(self._store, self._read), query, limit)
        return [
            _record(hit.item, await self._read(hit.item.source), hit.score, hit.ranking)
            for hit in hits
        ]

    @operation
    async def delete(self, name: str) -> None:
        """Delete a skill and its versions.

        Raises:
            SkillNotFoundError: there is no such skill; names close matches.
            SkillProtectedError: the operator provided it.
        """
        self._check_writable()
        await self._check_known(name)
        await self._store.remove(name, removable=self._changeable)

    async def _described(self) -> _AllDescribed:
        return [(stored, await self._read(stored.source)) for stored in await self._store.list()]

    def _check_writable(self) -> None:
        if not self._writes_allowed:
            raise SkillWritesDisabledError(
                "the operator does not let agent code create or delete skills; "
                "define a function in this session instead"
            )

    async def _check_known(self, name: str) -> None:
        """Refuse what cannot be a name before it is a path or a key of the store."""
        if not is_skill_name(name):
            known = [stored.name for stored in await self._store.list()]
            raise skill_not_found(name[:MAX_SEGMENT_BYTES], known)


class _Searched:
    """The skills as a search sees them: what they say of themselves, and their parameters."""

    def __init__(self, store: SkillStore, read: ReadSources) -> None:
        self.revision = store.revision
        self._store = store
        self._read = read

    async def items(self) -> dict[str, StoredSkill]:
        return {stored.name: stored for stored in await self._store.list()}

    async def documents(self, stored: StoredSkill) -> tuple[Document, ...]:
        read = await self._read(stored.source)
        names = " ".join(parameter["name"] for parameter in read.parameters)
        return (Document(stored.name, f"{_description(stored, read)}\n{names}"),)


class ReadSources:
    """Remembers what sources say, by their hash, so that a listing parses only what is new."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, SkillSource] = OrderedDict()

    async def __call__(self, source: str) -> SkillSource:
        """Return what ``source`` says of itself."""
        key = blake2b(source.encode(errors="surrogatepass"), digest_size=16).digest()
        if key not in self._known:
            # Parsing cannot be interrupted; between two, others get their turn.
            await asyncio.sleep(0)
            self._known[key] = read_skill(source)
            while len(self._known) > _MAX_READ:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def _check_name(name: str) -> None:
    reserved = _GUEST_METHODS.union(operation_names(SkillsService))
    problem = None
    if not name.isidentifier() or keyword.iskeyword(name):
        problem = "use a Python identifier that is no keyword"
    elif name.startswith("_"):
        problem = "it may not begin with an underscore"
    elif name in reserved:
        problem = f"skills.{name} is a method of the namespace"
    elif unicodedata.normalize("NFKC", name) != name:
        problem = f"Python reads it as {unicodedata.normalize('NFKC', name)!a}; use that"
    elif not is_skill_name(name):
        problem = f"at most {MAX_SEGMENT_BYTES} bytes"
    if problem is not None:
        raise InvalidSkillError(f"{quoted(name)} cannot be the name of a skill: {problem}")


def _record(
    stored: StoredSkill,
    read: SkillSource,
    score: float | None = None,
    ranking: str | None = None,
) -> SkillRecord:
    return SkillRecord(
        name=stored.name,
        description=one_line(_description(stored, read)),
        parameters=[dict(parameter) for parameter in read.parameters],
        version=stored.version,
        author=one_line(stored.author),
        origin=stored.origin,
        created_at=stored.created_at,
        score=score,
        ranking=ranking,
    )


def _description(stored: StoredSkill, read: SkillSource) -> str:
    if read.problem is not None:
        return f"broken, cannot be invoked: {stored.name}.py: {read.problem}"
    return stored.description or read.description
