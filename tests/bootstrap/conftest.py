"""A folder to fill a store from, the command in this process, and real Redis servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis

from py_code_mode.cli.store import main
from redis_server import redis_prefix, redis_servers, shared_redis_url
from store.redis_storages import round_trips

__all__ = ["redis_prefix", "redis_servers", "round_trips", "shared_redis_url"]

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = "name: {name}\ndescription: Prints {name}\ncommand: echo\n"
SKILL = '"""Says {name}."""\n\n\ndef run() -> str:\n    return "{name}"\n'


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Store(Protocol):
    """Runs ``py-code-mode store`` in this process; ``environ`` are its variables."""

    def __call__(self, *arguments: object, environ: dict[str, str] | None = None) -> Answer: ...


@pytest.fixture
def store(capsys: pytest.CaptureFixture[str]) -> Store:
    def run(*arguments: object, environ: dict[str, str] | None = None) -> Answer:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments], environ=environ or {})
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A storage folder with two tools, two skills and two packages."""
    folder = tmp_path / "source"
    for kind in ("tools", "skills"):
        (folder / kind).mkdir(parents=True)
    for name in ("one", "two"):
        (folder / "tools" / f"{name}.yaml").write_text(TOOL.format(name=name))
        (folder / "skills" / f"{name}.py").write_text(SKILL.format(name=name))
    (folder / "requirements.txt").write_text("# ours\nrequests >= 2.0  # web\n\nnumpy\n")
    return folder


@pytest.fixture
def foreign(shared_redis_url: str) -> Iterator[redis.Redis]:
    """A client that knows nothing of us, as redis-cli."""
    with redis.Redis.from_url(shared_redis_url, decode_responses=True) as client:
        yield client


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run lines of a deploy script as they stand, in the project's folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT,
        env={"PATH": path, "HOME": "/nonexistent", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
