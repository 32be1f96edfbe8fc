"""Checks items as sessions would: every problem of every item, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from py_code_mode.bootstrap.items import BadItemsError, Item, Kind, Problem
from py_code_mode.errors import CodeModeError, InvalidDepError, ToolDefinitionError
from py_code_mode.packages.specs import parse_spec
from py_code_mode.services.skills import SkillsService
from py_code_mode.store.memory import MemoryStorage
from py_code_mode.store.names import tool_name
from py_code_mode.tools.loading import load_definition
from py_code_mode.tools.names import python_name

#: Called with how many items were checked.
Progress = Callable[[int], object]


async def checked(items: Iterable[Item], kind: Kind, progress: Progress) -> dict[str, Item]:
    """Return the items by the name they are stored under.

    Raises:
        BadItemsError: names file, line and reason of each item that cannot be used.
    """
    good: dict[str, Item] = {}
    problems: list[Problem] = []
    check = _CHECKS[kind]()
    for number, item in enumerate(items, start=1):
        try:
            ready = await check(item)
        except ToolDefinitionError as error:
            problems.extend(_all(error))
        except CodeModeError as error:
            line = error.fields.get("line") or item.line
            problems.append(Problem(item.file, line, _reason(error, line)))
        else:
            if ready.name in good:
                taken = good[ready.name]
                reason = f"{ready.name!r} is in {taken.file}:{taken.line} already"
                problems.append(Problem(item.file, item.line, reason))
            good[ready.name] = ready
        progress(number)
    if problems:
        raise BadItemsError(problems)
    return good


class _Check(Protocol):
    async def __call__(self, item: Item) -> Item: ...


class _ToolCheck:
    def __init__(self) -> None:
        self._claimed: dict[str, Item] = {}

    async def __call__(self, item: Item) -> Item:
        definition = load_definition(item.text, file=item.file)
        # A file may be named otherwise than its tool; the key has the tool's name.
        name = item.name if python_name(item.name) == definition.name else definition.name
        first = self._claimed.setdefault(definition.name, item)
        if first is not item:
            raise CodeModeError(f"the tool {definition.name!r} is in {first.file} already")
        return Item(tool_name(name), item.text, file=item.file)


class _SkillCheck:
    def __init__(self) -> None:
        # Creating it, in memory, is what says everything that can be wrong with it.
        self._service = SkillsService(MemoryStorage().skills, origin="bootstrap")

    async def __call__(self, item: Item) -> Item:
        await self._service.create(item.name, item.text, item.description, overwrite=True)
        return item


class _SpecCheck:
    async def __call__(self, item: Item) -> Item:
        spec = parse_spec(item.text)
        return Item(spec.name, spec.text, file=item.file, line=item.line)


def normal_spec(text: str) -> tuple[str, str]:
    """Return name and normal form of a stored spec; itself where others stored what is none."""
    try:
        spec = parse_spec(text)
    except InvalidDepError:
        return text, text
    return spec.name, spec.text


def _all(error: ToolDefinitionError) -> Iterator[Problem]:
    for problem in error.problems:
        yield Problem(error.file, int(problem["line"]), str(problem["reason"]))


def _reason(error: CodeModeError, line: int) -> str:
    """Return the message without the line, which the problem says already."""
    return error.message.replace(f"line {line}: ", "", 1)


_CHECKS: Mapping[Kind, Callable[[], _Check]] = {
    "tools": _ToolCheck,
    "skills": _SkillCheck,
    "deps": _SpecCheck,
}
