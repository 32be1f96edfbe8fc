"""The tools namespace: find tools, say how they are called, and call them for a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_code_mode.models import MIB, ToolRecord
from py_code_mode.search.lexical import Document
from py_code_mode.services.operation import operation
from py_code_mode.services.search import Search
from py_code_mode.store.base import ToolStore
from py_code_mode.store.memory import MemoryVectors
from py_code_mode.tools.base import Caller, Tool
from py_code_mode.tools.catalog import Catalog
from py_code_mode.tools.cli import CliTool
from py_code_mode.tools.definition import ToolDefinition

# Annotations below a method called ``list`` need other names for the types.
ToolRecords = list[ToolRecord]
Arguments = list[Any]


class ToolsService:
    """Operations on the tools of one store; holds no session's state.

    ``variables`` are the host's that definitions may refer to as ``${TOOL_…}``; a program may
    print ``max_output_bytes`` on both its streams together. Without a ``search``, vectors stay in
    memory.
    """

    def __init__(
        self,
        store: ToolStore,
        *,
        variables: Mapping[str, str] | None = None,
        max_output_bytes: int = MIB,
        search: Search[Tool] | None = None,
    ) -> None:
        known = {
            name: value for name, value in (variables or {}).items() if name.startswith("TOOL_")
        }

        def make(definition: ToolDefinition) -> CliTool:
            return CliTool(definition, variables=known, max_output_bytes=max_output_bytes)

        self._catalog = Catalog(store, make)
        self._search = search or Search("tools", MemoryVectors())

    @operation
    async def list(self) -> ToolRecords:
        """Return every tool that can be used, ordered by name."""
        return (await self._catalog.tools()).records

    @operation
    async def search(self, query: str, limit: int = 10) -> ToolRecords:
        """Return the tools that fit ``query`` by meaning, best first, each with a ``score``.

        A tool is found by what it is and by each of its recipes.

        Raises:
            SearchUnavailableError: the operator's choice of embeddings does not work now.
        """
        hits = await self._search.find(_Searched(self._catalog), query, limit)
        return [_scored(hit.item.record, hit.score, hit.ranking) for hit in hits]

    @operation
    async def describe(self, name: str) -> dict[str, Any]:
        """Return how a tool is called: ``{name, description, callables}``.

        The first callable is the tool itself, with an empty name; each has ``name``,
        ``signature``, ``description`` and ``doc``.

        Raises:
            ToolNotFoundError: there is no such tool; names close matches.
            ToolError: its file cannot be used; says why.
        """
        return dict((await self._catalog.tools()).get(name).describe())

    @operation
    async def call(
        self,
        name: str,
        callable: str | None,  # noqa: A002 - the word that listings have for it
        arguments: dict[str, Any],
        caller: Caller,
        args: Arguments | None = None,
        large: str | bytes | None = None,
        large_at: str | int | None = None,
    ) -> Any:
        """Call a tool, or one of its callables, and return what it gives.

        Args:
            name: the tool.
            callable: what below it is called; None for the tool itself.
            arguments: the arguments by name.
            args: arguments by position.
            large: one of the arguments that is too large to be among the others.
            large_at: its name or its position; what stands there is replaced.

        Raises:
            ToolNotFoundError: there is no such tool or callable; names close matches.
            InvalidArgumentError: before anything runs, for arguments that do not fit.
            ToolCallError: the program failed; has exit_code, stdout and stderr.
            ToolTimeoutError: it took too long.
        """
        tool = (await self._catalog.tools()).get(name)
        named, ordered = dict(arguments), [*(args or ())]
        if isinstance(large_at, str):
            named[large_at] = large
        elif large_at is not None and 0 <= large_at < len(ordered):
            ordered[large_at] = large
        return await tool.call(callable, ordered, named, caller)

    @property
    def known(self) -> bool:
        """True where there were tools when they were looked at last."""
        return self._catalog.known


class _Searched:
    """The tools as a search sees them: each by itself, and by every callable below it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def revision(self) -> str:
        return (await self._catalog.tools()).revision

    async def items(self) -> Mapping[str, Tool]:
        return (await self._catalog.tools()).by_name

    async def documents(self, tool: Tool) -> tuple[Document, ...]:
        name = tool.record.name
        parts = [
            Document(f"{name} {each}", text) for each, text in tool.words_of_callables().items()
        ]
        return (Document(name, tool.words()), *parts)


def _scored(record: ToolRecord, score: float, ranking: str | None) -> ToolRecord:
    return ToolRecord(
        record.name, record.description, record.tags, record.callables, score, ranking
    )
