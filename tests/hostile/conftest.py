"""Makes every attempt of a file in every set-up that applies to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from hostile.arena import Arena, arena
from hostile.attempt import MAIN, Attempt, Setup


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Crosses the file's ATTEMPTS with its SETUPS."""
    module = metafunc.module
    setups: tuple[Setup, ...] = getattr(module, "SETUPS", MAIN)
    if "ground" in metafunc.fixturenames:
        marked = [pytest.param(setup, id=setup.name, marks=[*_marks(setup)]) for setup in setups]
        metafunc.parametrize("ground", marked, indirect=True)
    if "attempt" in metafunc.fixturenames:
        cases = [pytest.param(a, id=a.name.replace(" ", "_")) for a in module.ATTEMPTS]
        metafunc.parametrize("attempt", cases)


def _marks(setup: Setup) -> Iterator[pytest.MarkDecorator]:
    if setup.needs_root:
        yield pytest.mark.root
    if os.geteuid() == 0 and not setup.possible:
        yield pytest.mark.skip(reason=f"this root may not make the set-up {setup.name}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what a set-up does not promise, and marks what is not stopped as yet."""
    items[:] = [item for item in items if _applies(item)]
    for item in items:
        attempt = _parameter(item, "attempt")
        if isinstance(attempt, Attempt) and attempt.hole:
            item.add_marker(pytest.mark.xfail(reason=attempt.hole))


def _applies(item: pytest.Item) -> bool:
    attempt, setup = _parameter(item, "attempt"), _parameter(item, "ground")
    if not isinstance(attempt, Attempt) or not attempt.setups:
        return True
    return setup in attempt.setups


def _parameter(item: pytest.Item, name: str) -> object:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Arena]:
    """One set-up, shared by a file's attempts."""
    async with arena(request.param) as here:
        yield here
