"""What is moved between folders and stores: items of one kind, and what changes by moving them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from py_code_mode.errors import CodeModeError

Kind = Literal["tools", "skills", "deps"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Item:
    """One tool, skill or package.

    ``text`` is the YAML, the source or the spec; ``file`` and ``line`` say where it was read.
    ``description`` and ``origin`` are a skill's; ``removable`` says that a source which no longer
    has it may take it away.
    """

    name: str
    text: str
    description: str = ""
    file: str = field(default="", compare=False)
    line: int = field(default=1, compare=False)
    origin: str = field(default="", compare=False)

    @property
    def removable(self) -> bool:
        """False for skills that agents and the API made: no source ever had them."""
        return self.origin not in {"agent", "api"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an item cannot be used; ``line`` counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class BadItemsError(CodeModeError):
    """Raised when items of a source cannot be used; nothing was written. ``bad`` has them all."""

    code = "bad_items"

    def __init__(self, bad: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, bad)))
        self.bad = bad


class NothingFoundError(CodeModeError):
    """Raised when a source has no item of the kind asked for."""

    code = "nothing_found"


@dataclass(frozen=True, slots=True)
class Changes:
    """What moving ``wanted`` to a place changes there, by name in order."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    @classmethod
    def between(
        cls, there: Mapping[str, Item], wanted: Mapping[str, Item], *, clear: bool
    ) -> Changes:
        """Return the changes from what is ``there``; ``clear`` removes what is not wanted."""
        common = sorted(there.keys() & wanted.keys())
        gone = sorted(there.keys() - wanted.keys()) if clear else ()
        return cls(
            added=tuple(sorted(wanted.keys() - there.keys())),
            changed=tuple(name for name in common if _differs(there[name], wanted[name])),
            removed=tuple(name for name in gone if there[name].removable),
            unchanged=tuple(name for name in common if not _differs(there[name], wanted[name])),
        )

    @property
    def any(self) -> bool:
        """Whether there is a difference."""
        return bool(self.added or self.changed or self.removed)


def _differs(there: Item, wanted: Item) -> bool:
    """A description of its own that the source does not have is no difference: files have none."""
    described = wanted.description not in {"", there.description}
    return there.text != wanted.text or described
