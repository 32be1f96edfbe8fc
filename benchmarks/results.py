"""What was measured, and what it must reach: figures, bounds and the collection of both."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured ``runs`` times; its samples are in ``unit``."""

    key: str
    group: str
    title: str
    unit: str
    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"{self.key}: nothing was measured")

    @property
    def runs(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """The sample that 95 % do not exceed (nearest rank)."""
        return sorted(self.samples)[math.ceil(0.95 * self.runs) - 1]


@dataclass(frozen=True, slots=True)
class Bound:
    """What one figure, or two compared, must reach; ``measured`` is made of medians alone."""

    title: str
    measured: float
    limit: float
    unit: str
    of: str
    against: str | None = None
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """True where the bound is reached."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(slots=True)
class Results:
    """Every figure and bound of one run, and notes on what could not be measured."""

    figures: dict[str, Figure] = field(default_factory=dict)
    bounds: list[Bound] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[Bound]:
        """The bounds that were not reached."""
        return [bound for bound in self.bounds if not bound.passed]

    def add(self, key: str, group: str, title: str, unit: str, samples: Iterable[float]) -> None:
        """Take a figure. Raises ValueError for a second one of the same key, or an empty one."""
        if key in self.figures:
            raise ValueError(f"{key} was measured twice")
        self.figures[key] = Figure(key, group, title, unit, tuple(samples))

    def limit(self, title: str, of: str, limit: float, *, at_least: bool = False) -> None:
        """Bound the median of one figure."""
        figure = self.figures[of]
        self.bounds.append(Bound(title, figure.median, limit, figure.unit, of, at_least=at_least))

    def ratio(
        self, title: str, of: str, against: str, limit: float, *, at_least: bool = False
    ) -> None:
        """Bound how many times ``against`` the median of ``of`` is."""
        measured = self._comparable(of, against, ratio=True)
        self.bounds.append(Bound(title, measured, limit, "x", of, against, at_least))

    def difference(self, title: str, of: str, against: str, limit: float) -> None:
        """Bound by how much the median of ``of`` is over that of ``against``."""
        measured = self._comparable(of, against, ratio=False)
        self.bounds.append(Bound(title, measured, limit, self.figures[of].unit, of, against))

    def _comparable(self, of: str, against: str, *, ratio: bool) -> float:
        left, right = self.figures[of], self.figures[against]
        if left.unit != right.unit:
            raise ValueError(f"{of} is in {left.unit} and {against} in {right.unit}")
        return left.median / right.median if ratio else left.median - right.median
