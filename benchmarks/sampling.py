"""How samples are taken: cases take turns, so that whatever disturbs the machine hits all alike."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

MS = 1e3
US = 1e6


class Tally:
    """Samples by key, in seconds (or whatever the case says)."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, key: str, *samples: float) -> None:
        """Take samples."""
        self._samples[key].extend(samples)

    def scaled(self, key: str, factor: float) -> list[float]:
        """Return a key's samples in another unit."""
        return [sample * factor for sample in self._samples[key]]


Case = Callable[[Tally], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many samples each group takes."""

    creations: int
    warm_rounds: int
    warm_block: int
    call_rounds: int
    calls: int
    sessions: int
    interrupts: int
    kernel_starts: int
    peer_runs: int
    saves: int

    @classmethod
    def full(cls) -> Counts:
        """About two minutes."""
        return cls(80, 60, 50, 40, 250, 100, 60, 8, 400, 20)

    @classmethod
    def quick(cls) -> Counts:
        """Under twenty seconds; enough to see that all of it works, not to judge by."""
        return cls(10, 8, 25, 6, 100, 25, 6, 2, 60, 5)


async def interleave(cases: Sequence[Case], *, rounds: int, warm_up: int = 1) -> Tally:
    """Let every case take a turn per round; the first ``warm_up`` rounds are thrown away.

    The collector stays on, as in production. What was allocated before the first round is taken
    out of its sight, so that a case pays for its own garbage and not for this programme's modules.
    """
    gc.collect()
    gc.freeze()
    try:
        await _take_turns(cases, Tally(), warm_up)
        tally = Tally()
        await _take_turns(cases, tally, rounds)
    finally:
        gc.unfreeze()
    return tally


async def _take_turns(cases: Iterable[Case], tally: Tally, rounds: int) -> None:
    cases = list(cases)
    for number in range(rounds):
        # Every other round backwards: no case always follows the same neighbour.
        for case in cases if number % 2 == 0 else reversed(cases):
            await case(tally)
