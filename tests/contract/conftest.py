"""One ``store`` fixture for every back end; a test here holds for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.memory import MemoryStorage


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = FileStorage(tmp_path / "store") if request.param == "file" else MemoryStorage()
    yield opened
    await opened.aclose()
