"""Tool definitions as files that people edit."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from py_code_mode.errors import ToolError, ToolNotFoundError
from py_code_mode.store.file import FileStorage


async def test_a_tool_file_put_there_changed_and_removed_by_hand_is_seen(
    storage: FileStorage, base: Path
) -> None:
    seen = [await storage.tools.revision()]
    (base / "tools").mkdir(parents=True)
    file = base / "tools" / "jq.yaml"
    for text in ["name: jq\n", "name: jp\n"]:
        file.write_text(text)
        assert await storage.tools.list() == {"jq": text}
        assert await storage.tools.get("jq") == text
        seen.append(await storage.tools.revision())
    file.unlink()
    assert await storage.tools.list() == {}
    with pytest.raises(ToolNotFoundError):
        await storage.tools.get("jq")
    assert len(set(seen)) == 3
    assert await storage.tools.revision() not in seen[1:]


async def test_yml_files_are_read_replaced_and_removed(storage: FileStorage, base: Path) -> None:
    (base / "tools").mkdir(parents=True)
    (base / "tools" / "jq.yml").write_text("one")
    assert await storage.tools.list() == {"jq": "one"}
    await storage.tools.add("jq", "two")
    assert os.listdir(base / "tools") == ["jq.yml"]
    assert await storage.tools.get("jq") == "two"
    (base / "tools" / "jq.yaml").write_text("wins")
    assert await storage.tools.list() == {"jq": "wins"}
    await storage.tools.remove("jq")
    assert os.listdir(base / "tools") == []


async def test_a_file_that_is_no_text_or_a_link_hides_no_other(
    storage: FileStorage, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await storage.tools.add("fine", "x")
    (base / "tools" / "bad.yaml").write_bytes(b"\xff")
    (tmp_path / "outside.yaml").write_text("secret")
    (base / "tools" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (base / "tools" / "folder.yaml").mkdir()
    (base / "tools" / ".hidden.yaml").write_text("x")
    (base / "tools" / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert await storage.tools.list() == {"fine": "x"}
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"{base}/tools/{file}" for file in ["bad.yaml", "folder.yaml", "link.yaml"]
    ]
    for name in ["bad", "folder", "link"]:
        with pytest.raises(ToolError, match=f"tools/{name}.yaml"):
            await storage.tools.get(name)
