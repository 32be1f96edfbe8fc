"""Command-line tools: a definition and arguments become a program in the caller's jail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Final

from py_code_mode.errors import ToolError, ToolNotFoundError, ToolTimeoutError, WorkerStartError
from py_code_mode.models import MIB, Program, ToolRecord
from py_code_mode.text import close_matches, one_line, plain, quoted
from py_code_mode.tools.arguments import call_path
from py_code_mode.tools.argv import CommandLine, command_line
from py_code_mode.tools.base import CallableDetail, Caller, ToolDetail
from py_code_mode.tools.definition import Recipe, ToolDefinition
from py_code_mode.tools.loading import REFERENCE
from py_code_mode.tools.outcome import value_of
from py_code_mode.tools.signature import documentation, signature

#: Where programs are looked for, whatever the host's own PATH is.
PROGRAM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Final = {"PATH": PROGRAM_PATH, "LANG": "C.UTF-8", "TZ": "UTC"}


def find_program(command: str) -> str | None:
    """Return the absolute path of a program; None where it is not installed."""
    if not os.path.isabs(command):
        return shutil.which(command, path=PROGRAM_PATH)
    return command if os.path.isfile(command) and os.access(command, os.X_OK) else None


def missing_variables(tool: ToolDefinition, variables: Mapping[str, str]) -> list[str]:
    """Return the names of host variables that a definition uses and the operator has not set."""
    used = {found[1] for value in tool.env.values() for found in REFERENCE.finditer(value)}
    return sorted(used - variables.keys())


class CliTool:
    """One program as a tool. ``variables`` are the host's that definitions may refer to."""

    def __init__(
        self,
        definition: ToolDefinition,
        *,
        variables: Mapping[str, str],
        max_output_bytes: int = MIB,
    ) -> None:
        self.definition = definition
        self.program = find_program(definition.command)
        self.missing = missing_variables(definition, variables)
        self.record = _record(definition)
        self._recipes: dict[str | None, Recipe] = {None: definition.whole}
        self._recipes.update(definition.recipes)
        self._environment = {**_ENVIRONMENT, **_resolved(definition.env, variables)}
        self._max_output_bytes = max_output_bytes

    def describe(self) -> ToolDetail:
        """Return what ``help`` says of the tool and of each recipe."""
        return {
            "name": self.definition.name,
            "description": plain(self.definition.description).strip(),
            "callables": [self._detail(recipe) for recipe in self._recipes.values()],
        }

    def words(self) -> str:
        """Return descriptions and tags, and the names of recipes and parameters with theirs."""
        definition = self.definition
        recipes = [f"{each.name} {each.description}" for each in definition.recipes.values()]
        parameters = [f"{each.name} {each.description}" for each in definition.parameters]
        return "\n".join([definition.description, *definition.tags, *recipes, *parameters])

    def words_of_callables(self) -> dict[str, str]:
        """Return what each recipe says it does."""
        return {each.name: each.description for each in self.definition.recipes.values()}

    async def call(
        self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], caller: Caller
    ) -> Any:
        """Run the program in the caller's jail and return what it printed, typed."""
        recipe = self._recipe(name)
        path = call_path(self.definition, recipe)
        line = command_line(self.definition, recipe, args, kwargs)
        program = self._program(line, path, caller.time_left())
        try:
            end = await caller.jail.run(program)
        except WorkerStartError as error:
            raise ToolError(f"{path} could not be started: {error}") from error
        return value_of(end, program, self.definition, path)

    def _recipe(self, name: str | None) -> Recipe:
        found = self._recipes.get(name)
        if found is None:
            close = close_matches(name, list(self.definition.recipes))
            raise ToolNotFoundError(
                f"tools.{self.definition.name} has no recipe {quoted(name)}"
                f"{close or f'; it is called as tools.{self.definition.name}(...)'}"
            )
        return found

    def _program(self, line: CommandLine, path: str, time_left_s: float) -> Program:
        if time_left_s <= 0:
            raise ToolTimeoutError(f"{path} was not started: the run has no time left")
        return Program(
            argv=(self._installed(path), *line.arguments),
            env=self._environment,
            stdin=line.stdin,
            timeout_s=min(self.definition.timeout_s, time_left_s),
            max_output_bytes=self._max_output_bytes,
            network=self.definition.network,
            ports=self.definition.ports,
        )

    def _installed(self, path: str) -> str:
        """Return the program's path, or raise an error that says what is missing here."""
        if self.missing:
            raise ToolError(
                f"{path} cannot be called: the operator has not set {', '.join(self.missing)}"
            )
        if self.program is None:  # it may have been installed since
            self.program = find_program(self.definition.command)
        if self.program is None:
            raise ToolError(
                f"{path} cannot be called: the program {quoted(self.definition.command)} is not "
                "installed on this server"
            )
        return self.program

    def _detail(self, recipe: Recipe) -> CallableDetail:
        return {
            "name": recipe.name,
            "signature": signature(self.definition, recipe),
            "description": one_line(recipe.description or self.definition.description),
            "doc": documentation(self.definition, recipe),
        }


def _record(definition: ToolDefinition) -> ToolRecord:
    return ToolRecord(
        name=definition.name,
        description=one_line(definition.description),
        tags=[one_line(tag) for tag in definition.tags],
        callables=list(definition.recipes),
    )


def _resolved(env: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    return {
        name: REFERENCE.sub(lambda found: variables.get(found[1], ""), value)
        for name, value in env.items()
    }
