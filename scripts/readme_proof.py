"""Runs what README.md says under "Run it in containers", line by line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from container_engine import Engine
from server_facts import ProofError, must

README: Final = Path(__file__).resolve().parents[1] / "README.md"
SECTION: Final = "\n## Run it in containers\n"
_PATIENCE_S: Final = 120.0


def follow(engine: Engine) -> list[str]:
    """Run the commands on the image that is there; returns what was found. Raises ProofError."""
    lines = ["set -e", f'docker() {{ {engine.name} "$@"; }}']
    for command in commands(README.read_text(encoding="utf-8"), SECTION):
        if command.startswith("docker build "):
            continue  # it was built with the operator's own options
        lines.append(command)
        if command.startswith("docker run "):
            # Only now: one of that name that was there before is somebody else's.
            lines.append("trap 'docker rm --force session-server >/dev/null 2>&1' EXIT")
    try:
        ended = subprocess.run(  # noqa: S603 - our own README
            ["bash", "-c", "\n".join(lines)],  # noqa: S607 - the operator's
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProofError(f"README's lines took more than {_PATIENCE_S:g} s") from error
    said = ended.stdout + ended.stderr
    answered = '{"status":"ready",' in said and '{"value": 42,' in said
    must(ended.returncode == 0 and answered, f"README's lines: {ended.returncode}: {said}")
    return ["README's lines: ready, 6 * 7 is 42 through the published port, stopped"]


def commands(text: str, section: str) -> list[str]:
    """Return the commands of a section's first block of shell."""
    block = text.partition(section)[2].partition("```console\n")[2].partition("```")[0]
    found: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(line[2:])
        elif line.startswith("> "):
            found[-1] += f"\n{line[2:]}"
    return found
