"""Package specs in a requirements file that people edit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from py_code_mode.errors import InvalidDepError
from py_code_mode.store.file import FileStorage


async def test_comments_and_blank_lines_stay_on_edit(storage: FileStorage, base: Path) -> None:
    os.mkdir(base)
    file = base / "requirements.txt"
    file.write_text("# ours\nrequests>=2.0  # http\n\n  numpy\nurl#fragment")
    assert await storage.deps.list() == ["numpy", "requests>=2.0", "url#fragment"]
    await storage.deps.add("numpy", "attrs")
    await storage.deps.remove("requests>=2.0", "")
    assert file.read_text() == "# ours\n\n  numpy\nurl#fragment\nattrs\n"


async def test_windows_line_ends_stay(storage: FileStorage, base: Path) -> None:
    os.mkdir(base)
    (base / "requirements.txt").write_bytes(b"\xef\xbb\xbfnumpy\r\n# c\r\nattrs\r\n")
    await storage.deps.remove("numpy")
    assert (base / "requirements.txt").read_bytes() == b"# c\r\nattrs\r\n"
    assert await storage.deps.list() == ["attrs"]


async def test_an_edit_that_changes_nothing_leaves_the_file_alone(
    storage: FileStorage, base: Path
) -> None:
    await storage.deps.add("numpy")
    before = (base / "requirements.txt").stat()
    await storage.deps.add("numpy")
    await storage.deps.remove("absent")
    assert (base / "requirements.txt").stat() == before


async def test_a_requirements_file_that_is_no_text_or_a_link_is_said(
    storage: FileStorage, base: Path, tmp_path: Path
) -> None:
    os.mkdir(base)
    file = base / "requirements.txt"
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidDepError, match="not UTF-8"):
        await storage.deps.list()
    file.unlink()
    (tmp_path / "outside").write_text("numpy\n")
    file.symlink_to(tmp_path / "outside")
    for ask in [storage.deps.list(), storage.deps.add("attrs"), storage.deps.remove("numpy")]:
        with pytest.raises(InvalidDepError, match="links are not followed"):
            await ask
    assert (tmp_path / "outside").read_text() == "numpy\n"
