"""A file storage in an empty folder, and its paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_code_mode.store.file import FileStorage


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def storage(base: Path) -> FileStorage:
    return FileStorage(base)
