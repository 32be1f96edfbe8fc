"""All tools of a store, read again whenever it changes; a bad file never stops the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from py_code_mode.errors import ToolDefinitionError, ToolError, ToolNotFoundError
from py_code_mode.models import ToolRecord
from py_code_mode.text import close_matches, quoted
from py_code_mode.tools.base import Tool
from py_code_mode.tools.cli import CliTool
from py_code_mode.tools.definition import ToolDefinition
from py_code_mode.tools.document import definition_error
from py_code_mode.tools.loading import load_definition
from py_code_mode.tools.names import python_name

_log = logging.getLogger(__name__)

Loaded = ToolDefinition | ToolDefinitionError
#: Texts that are read without leaving the event loop; more take a thread.
_READ_INLINE: Final = 4


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one revision by name, and why others cannot be used."""

    revision: str
    by_name: Mapping[str, Tool]
    broken: Mapping[str, list[ToolDefinitionError]]
    records: list[ToolRecord]

    def get(self, name: str) -> Tool:
        """Return a tool.

        Raises:
            ToolNotFoundError: there is none of this name; names close matches.
            ToolError: there is, and its file has problems, which are told.
        """
        tool = self.by_name.get(name)
        if tool is not None:
            return tool
        if name in self.broken:
            told = "\n".join(error.message for error in self.broken[name])
            raise ToolError(f"tools.{name} cannot be used until its file is corrected:\n{told}")
        close = close_matches(name, list(self.by_name))
        raise ToolNotFoundError(f"there is no tool {quoted(name)}{close}")


class Source(Protocol):
    """Where the texts come from; every store's tools are one."""

    async def list(self) -> dict[str, str]:
        """Return every text by its name, ordered by name."""

    async def revision(self) -> str:
        """Return a token that differs whenever a text has changed."""


class Catalog:
    """The tools of one source. ``make`` turns a definition into a tool that can be called."""

    def __init__(self, source: Source, make: Callable[[ToolDefinition], CliTool]) -> None:
        self._source = source
        self._make = make
        self._lock = asyncio.Lock()
        self._tools: Tools | None = None
        self._read: dict[str, tuple[str, Loaded]] = {}
        self._told: set[tuple[str, str]] = set()

    @property
    def known(self) -> bool:
        """True where there were tools when they were read last."""
        return self._tools is not None and bool(self._tools.by_name)

    async def tools(self) -> Tools:
        """Return the tools as the store has them now."""
        # Asked before the listing: a change in between costs a second listing, never a stale one.
        revision = await self._source.revision()
        current = self._tools
        if current is not None and current.revision == revision:
            return current
        async with self._lock:
            if self._tools is None or self._tools.revision != revision:
                self._tools = await self._load(revision)
            return self._tools

    async def _load(self, revision: str) -> Tools:
        texts = {f"{name}.yaml": text for name, text in (await self._source.list()).items()}
        changed = [file for file, text in texts.items() if self._read.get(file, ("",))[0] != text]
        fresh = {file: texts[file] for file in changed}
        if len(fresh) <= _READ_INLINE:
            read = load_all(fresh)
        else:
            read = await asyncio.to_thread(load_all, fresh)
        self._read = {
            file: (text, read[file] if file in read else self._read[file][1])
            for file, text in texts.items()
        }
        definitions, errors = unite({file: loaded for file, (_, loaded) in self._read.items()})
        made = {name: self._make(definition) for name, definition in sorted(definitions.items())}
        self._report(made, errors.values())
        broken: dict[str, list[ToolDefinitionError]] = {}
        for file, error in errors.items():
            broken.setdefault(python_name(file.removesuffix(".yaml")), []).append(error)
        return Tools(revision, made, broken, [tool.record for tool in made.values()])

    def _report(self, made: Mapping[str, CliTool], errors: Iterable[ToolDefinitionError]) -> None:
        """Say in the log what cannot be used, and once what is not installed or not set."""
        for error in errors:
            for line in error.message.splitlines():
                _log.warning("bad tool file: %s", line)
        for name, tool in made.items():
            wanted = [] if tool.program else [f"the program {tool.definition.command!r}"]
            wanted += [f"the variable {variable}" for variable in tool.missing]
            for what in wanted:
                if (name, what) not in self._told:
                    self._told.add((name, what))
                    _log.warning("tool %s cannot be called: %s is not there", name, what)


def load_all(texts: Mapping[str, str]) -> dict[str, Loaded]:
    """Return the definition, or what is wrong with it, of each text by its file."""
    return {file: _loaded(text, file) for file, text in texts.items()}


def unite(
    loaded: Mapping[str, Loaded],
) -> tuple[dict[str, ToolDefinition], dict[str, ToolDefinitionError]]:
    """Return what can be used, by its name in Python, and what cannot, by its file.

    Of several files that claim one name, the first has it.
    """
    usable: dict[str, ToolDefinition] = {}
    broken: dict[str, ToolDefinitionError] = {}
    takers: dict[str, str] = {}
    for file, found in sorted(loaded.items()):
        if isinstance(found, ToolDefinitionError):
            broken[file] = found
        elif found.name in usable:
            reason = f"the name {found.name!r} is taken by {takers[found.name]}"
            broken[file] = definition_error(file, [(1, reason)])
        else:
            usable[found.name] = found
            takers[found.name] = file
    return usable, broken


def _loaded(text: str, file: str) -> Loaded:
    try:
        return load_definition(text, file=file)
    except ToolDefinitionError as error:
        return error
