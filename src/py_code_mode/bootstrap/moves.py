"""Moves a collection from one place to another: all of it, or nothing where an item is bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from py_code_mode.bootstrap.checking import Progress, checked
from py_code_mode.bootstrap.folders import read_folder, write_folder
from py_code_mode.bootstrap.items import (
    BadItemsError,
    Changes,
    Item,
    Kind,
    NothingFoundError,
    Problem,
)
from py_code_mode.bootstrap.places import Place, folder_of, is_url, open_target


@dataclass(frozen=True, slots=True)
class Batch:
    """Items for one place; ``clear`` removes what they no longer have.

    Skills of agents and the API stay: no source ever had them.
    """

    items: Sequence[Item]
    target: Place
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """What a bootstrap did, or with ``dry_run`` would do, at ``target``."""

    kind: Kind
    target: str
    changes: Changes
    dry_run: bool = False


async def read_source(
    source: str, kind: Kind, *, prefix: str, allow_insecure: bool = False
) -> list[Item]:
    """Return the unchecked items of a folder or of a Redis.

    Raises:
        NothingFoundError: there is none of this kind.
        ConfigurationError, BadItemsError: it cannot be read.
    """
    if not is_url(source):
        items, shown = read_folder(folder_of(source), kind), source
    else:
        store = open_target(source, kind, prefix=prefix, allow_insecure=allow_insecure)
        try:
            place = store.place(kind)
            items, shown = await place.all(), place.shown
        finally:
            await store.aclose()
    if not items:
        raise NothingFoundError(f"there are no {kind} in {shown}")
    return items


async def bootstrap(
    batches: Sequence[Batch], *, dry_run: bool = False, progress: Progress = lambda _: None
) -> list[Moved]:
    """Check all items of all batches, then save those that differ at their targets.

    A batch whose target is a Redis is saved in one step.

    Args:
        dry_run: change nothing.
        progress: called with how many items of a batch were checked.

    Raises:
        BadItemsError: names file and line of each bad item; nothing is changed then.
    """
    wanted = await _checked(batches, progress)
    return [
        await _move(batch, items, dry_run=dry_run)
        for batch, items in zip(batches, wanted, strict=True)
    ]


async def compare(items: Sequence[Item], target: Place) -> Moved:
    """Return what a bootstrap that clears would change. Raises BadItemsError."""
    (moved,) = await bootstrap([Batch(items, target, clear=True)], dry_run=True)
    return moved


async def pull(source: Place, folder: Path) -> Sequence[Item]:
    """Write every item of ``source`` to a folder, as ``bootstrap`` reads it; returns the items.

    Raises:
        NothingFoundError: there is none.
    """
    items = await source.all()
    if not items:
        raise NothingFoundError(f"there are no {source.kind} in {source.shown}")
    write_folder(folder, source.kind, items)
    return items


async def _checked(batches: Sequence[Batch], progress: Progress) -> list[dict[str, Item]]:
    wanted: list[dict[str, Item]] = []
    problems: list[Problem] = []
    for batch in batches:
        try:
            wanted.append(await checked(batch.items, batch.target.kind, progress))
        except BadItemsError as error:
            problems += error.bad
    if problems:
        raise BadItemsError(problems)
    return wanted


async def _move(batch: Batch, wanted: Mapping[str, Item], *, dry_run: bool) -> Moved:
    target = batch.target
    found = await (target.all() if batch.clear else target.some(wanted))
    there = {item.name: item for item in found}
    changes = Changes.between(there, wanted, clear=batch.clear)
    if changes.any and not dry_run:
        save = [wanted[name] for name in (*changes.added, *changes.changed)]
        await target.change(save, [there[name] for name in changes.removed])
    return Moved(target.kind, target.shown, changes, dry_run)
