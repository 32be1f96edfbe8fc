"""What a tool's file says, read and checked: plain frozen data, nothing left to look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ParameterType = Literal["boolean", "string", "integer", "number", "array"]
Kind = Literal["option", "positional", "stdin"]
Output = Literal["text", "json", "lines", "bytes"]

#: Stands for "no default", which None cannot: it is how callers leave a parameter out.
ABSENT: Any = ...


class Pattern(Protocol):
    """A pattern that a whole text must match; takes time linear in the text's length."""

    text: str

    def matches(self, value: str) -> bool:
        """Tell whether all of ``value`` matches."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as Python callers see it; ``flag`` is what an option is on the command line."""

    name: str
    kind: Kind
    type: ParameterType
    description: str = ""
    required: bool = False
    default: Any = ABSENT
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: Pattern | None = None
    flag: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to call a tool: what callers may give, and what is given already.

    ``fixed`` holds presets and defaults of parameters that callers of this recipe cannot set.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A command-line program as a tool. ``whole`` is the recipe of the tool called by itself.

    ``command`` is a program's name or absolute path; ``args`` come first in every call; values of
    ``env`` may hold ``${TOOL_…}``; ``ports`` are the TCP ports it may reach (None: any).
    """

    name: str
    description: str
    command: str
    args: tuple[str, ...]
    timeout_s: float
    tags: tuple[str, ...]
    options: tuple[Parameter, ...]
    positional: tuple[Parameter, ...]
    stdin: Parameter | None
    recipes: Mapping[str, Recipe]
    output: Output
    env: Mapping[str, str]
    ok_exit_codes: tuple[int, ...]
    network: bool
    ports: tuple[int, ...] | None
    end_of_options: bool

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of the schema: options, positionals, standard input."""
        return (*self.options, *self.positional, *([self.stdin] if self.stdin else []))

    @property
    def whole(self) -> Recipe:
        """The tool itself as a callable: the whole schema, nothing preset."""
        return Recipe("", self.description, self.parameters)
