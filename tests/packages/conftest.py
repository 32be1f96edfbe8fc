"""A folder of wheels, a cache, and an installer that knows nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_code_mode.packages.installer import PackageInstaller


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def installer(cache: Path, links: Path) -> PackageInstaller:
    return PackageInstaller(
        cache, environ={}, find_links=[links], offline=True, compile_bytecode=False
    )
