"""What of README is run in a container, and that the page on containers says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from container_engine import Engine
from readme_proof import README, SECTION, commands, follow
from server_facts import ProofError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "containers.md"


def test_the_page_on_containers_begins_with_the_commands_of_readme() -> None:
    found = commands(README.read_text(), SECTION)
    assert [command.split()[:2] for command in found] == [
        ["docker", "build"],
        ["export", "CONTAINER_AUTH_TOKEN=$(openssl"],
        ["docker", "run"],
        ["curl", "-s"],
        ["curl", "-s"],
        ["docker", "stop"],
    ]
    assert commands(PAGE.read_text(), "\n## Build and run\n") == found


def test_a_container_of_that_name_that_was_there_is_left_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_RUN", "125")
    with pytest.raises(ProofError, match="README's lines: 125"):
        follow(engine)
    (asked,) = (tmp_path / "log").read_text().splitlines()
    assert asked.startswith("run --detach --rm --name session-server ")
