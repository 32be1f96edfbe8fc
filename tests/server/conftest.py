"""One server for the tests that leave it as it was, and places for servers of a test's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_server import RedisServer, RedisSource, redis_prefix, redis_servers, shared_redis_url

from .serving import Client, Place, Server, place

__all__ = ["redis_prefix", "redis_servers", "shared_redis_url"]

TOOLS = Path(__file__).parent / "tools"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets the snapshot of the API be renewed."""
    parser.addoption("--renew-openapi", action="store_true", help="renew tests/server/openapi.json")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server on files with a few tools; use sessions, skills and artifacts of your own."""
    with place() as made:
        fill(made.folder / "store")
        yield made.start(MAX_QUEUE="2", MAX_CODE_BYTES="100000", MAX_BODY_BYTES="300000")


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of that server."""
    with server.client() as made:
        yield made


@pytest.fixture
def session() -> str:
    """An id for a session that nobody else has."""
    return f"test-{secrets.token_hex(12)}"


@pytest.fixture
def own() -> Iterator[Place]:
    """A place for servers of this test alone."""
    with place() as made:
        yield made


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this file alone."""
    source = RedisSource(tmp_path_factory.mktemp("redis"))
    yield source.start()
    source.stop()


@pytest.fixture(scope="module")
def replicas(redis: RedisServer) -> Iterator[tuple[Server, Server]]:
    """Two servers on that Redis."""
    with place() as one, place() as two:
        yield one.start(REDIS_URL=redis.url), two.start(REDIS_URL=redis.url)


def fill(store: Path) -> None:
    """Make a store with the tools of the tests."""
    (store / "tools").mkdir(parents=True)
    for tool in TOOLS.glob("*.yaml"):
        (store / "tools" / tool.name).write_text(tool.read_text())


def fill_redis(redis: RedisServer, prefix: str = "agent") -> None:
    """Put the tools of the tests into a Redis, as any client would."""
    for tool in TOOLS.glob("*.yaml"):
        redis.cli("SET", f"{prefix}:tools:{tool.stem}", tool.read_text())
