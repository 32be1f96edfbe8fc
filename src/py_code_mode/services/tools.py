"""The tools namespace: find tools, say how they are called, and call them for a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_code_mode.errors import InvalidArgumentError
from py_code_mode.models import MIB, ToolRecord
from py_code_mode.search.lexical import Document, LexicalIndex
from py_code_mode.services.operation import operation
from py_code_mode.store.base import ToolStore
from py_code_mode.tools.base import Caller, Tool
from py_code_mode.tools.catalog import Catalog, Tools
from py_code_mode.tools.cli import CliTool
from py_code_mode.tools.definition import ToolDefinition

# Annotations below a method called ``list`` need other names for the types.
ToolRecords = list[ToolRecord]
Arguments = list[Any]


class ToolsService:
    """Operations on the tools of one store; holds no session's state.

    ``variables`` are the host's that definitions may refer to as ``${TOOL_…}``; a program may
    print ``max_output_bytes`` on both its streams together.
    """

    def __init__(
        self,
        store: ToolStore,
        *,
        variables: Mapping[str, str] | None = None,
        max_output_bytes: int = MIB,
    ) -> None:
        known = {
            name: value for name, value in (variables or {}).items() if name.startswith("TOOL_")
        }

        def make(definition: ToolDefinition) -> CliTool:
            return CliTool(definition, variables=known, max_output_bytes=max_output_bytes)

        self._catalog = Catalog(store, make)
        self._searched: tuple[Tools, LexicalIndex] | None = None

    @operation
    async def list(self) -> ToolRecords:
        """Return every tool that can be used, ordered by name."""
        return (await self._catalog.tools()).records

    @operation
    async def search(self, query: str, limit: int = 10) -> ToolRecords:
        """Return the tools that fit the words of ``query``, best first, each with a ``score``."""
        if limit < 1:
            raise InvalidArgumentError(
                f"tools.search() needs a limit of at least 1, not {limit}", parameter="limit"
            )
        tools = await self._catalog.tools()
        found = self._index(tools).search(query, limit)
        return [_scored(tools.records[position], score) for position, score in found]

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

    def _index(self, tools: Tools) -> LexicalIndex:
        if self._searched is None or self._searched[0] is not tools:
            index = LexicalIndex([_document(tool) for tool in tools.by_name.values()])
            self._searched = (tools, index)
        return self._searched[1]


def _scored(record: ToolRecord, score: float) -> ToolRecord:
    return ToolRecord(record.name, record.description, record.tags, record.callables, score)


def _document(tool: Tool) -> Document:
    return Document(tool.record.name, tool.words())
