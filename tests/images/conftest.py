"""The scripts for images are no package; their folder is put where Python looks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from container_engine import Engine

#: Answers as an engine would, and writes down what it was asked for.
FAKE = """#!/bin/sh
echo "$@" >> "$ENGINE_LOG"
: > oom  # as podman's monitor does
case "$1" in
  info) exit "${ENGINE_INFO:-0}" ;;
  image) echo 100 ;;
  inspect) echo "$ENGINE_INSPECT" ;;
  pwd) pwd ;;
  ps) echo "$ENGINE_PS" ;;
  pod|secret) exit "${ENGINE_THERE:-0}" ;;
  run) echo "$ENGINE_SAID"; [ -z "$ENGINE_HANGS" ] || exec sleep 60; exit "${ENGINE_RUN:-0}" ;;
  exec) cat > /dev/null; echo "$ENGINE_EXEC" ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    program = tmp_path / "podman"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ENGINE_INSPECT", '"2026-01-02T03:04:05.678901234Z"')
    monkeypatch.setenv("ENGINE_LOG", str(tmp_path / "log"))
    return Engine("podman")
