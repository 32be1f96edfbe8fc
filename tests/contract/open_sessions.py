"""Opens sessions here and on a real server, over stores with the same content."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from packages.wheels import wheel
from py_code_mode import FileStorage, Limits, PackageInstaller, Session, SessionClient
from server.serving import TOKEN, Server, place

#: What both kinds of session may use, and how a server is told.
LIMITS = Limits(max_queue=2, max_output_bytes=50_000, max_code_bytes=20_000, pool_size=1)
VARIABLES = {
    "MAX_QUEUE": "2",
    "MAX_OUTPUT_BYTES": "50000",
    "MAX_CODE_BYTES": "20000",
    "POOL_SIZE": "1",
    "ALLOW_RUNTIME_DEPS": "true",
}
ECHO = """\
name: echo
description: Print a text again
command: echo
tags: [text]
schema:
  positional:
    - {name: text, type: string, required: true, description: What to print}
recipes:
  say:
    description: Print a text
    params:
      text: {}
"""
CAT = "name: cat\ndescription: Concatenate files\ncommand: cat\n"

AnySession = Session | SessionClient


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages, which stands for an index."""
    folder = tmp_path_factory.mktemp("wheels")
    wheel(folder, "one")
    wheel(folder, "two")
    return folder


@pytest.fixture(scope="module")
def server(wheels: Path) -> Iterator[Server]:
    """A real server on files; a test that used it leaves its store to be emptied."""
    with place() as made:
        fill(made.folder / "store")
        yield made.start(**VARIABLES, UV_OFFLINE="1", UV_FIND_LINKS=str(wheels))


@pytest.fixture(params=["local", "remote"])
async def session(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnySession]:
    """One session of each kind, on a store with two tools and nothing else."""
    wheels: Path = request.getfixturevalue("wheels")
    if request.param == "local":
        fill(tmp_path / "store")
        with TemporaryDirectory() as cache:
            Path(cache).chmod(0o755)  # workers are other users, who must reach the packages in it
            async with local(tmp_path, Path(cache), wheels) as opened:
                yield opened
        return
    server: Server = request.getfixturevalue("server")
    async with SessionClient(server.url, auth_token=TOKEN) as client:
        yield client
    fill(server.folder / "store")


@asynccontextmanager
async def local(folder: Path, cache: Path, wheels: Path) -> AsyncIterator[Session]:
    """A session of this process."""
    installer = PackageInstaller(
        cache / "packages", environ={"UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}
    )
    storage = FileStorage(folder / "store")
    async with Session(storage, limits=LIMITS, installer=installer) as session:
        yield session


def fill(store: Path) -> None:
    """Make a store as it was before the test."""
    shutil.rmtree(store, ignore_errors=True)
    (store / "tools").mkdir(parents=True)
    (store / "tools" / "echo.yaml").write_text(ECHO)
    (store / "tools" / "cat.yaml").write_text(CAT)
