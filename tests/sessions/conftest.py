"""Sessions for tests: one zygote per module, one fresh session per test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from py_code_mode import Limits, MemoryStorage, RunResult, Session
from py_code_mode.models import SessionId
from py_code_mode.services.registry import Services
from py_code_mode.sessions.manager import SessionManager, new_session_id
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig
from sessions.net import Net, serve

LIMITS = Limits(interrupt_grace_s=0.5, pool_size=2, max_output_bytes=100_000)


class Run:
    """One session of a manager, as short to use in a test as it is in a program."""

    def __init__(self, manager: SessionManager) -> None:
        self.manager = manager
        self.id: SessionId = new_session_id()

    async def __call__(self, code: str, timeout: float = 20) -> RunResult:
        return await self.manager.run(self.id, code, timeout_s=timeout)

    async def value(self, code: str, timeout: float = 20) -> object:
        result = await self(code, timeout)
        assert result.error is None, result.error
        return result.value


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager() -> AsyncIterator[SessionManager]:
    store = MemoryStorage()
    async with SessionManager(
        pool=Pool(ZygoteConfig(root="/tmp/py-code-mode-test", limits=LIMITS)),
        services=Services(store, limits=LIMITS),
        limits=LIMITS,
    ) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def run(manager: SessionManager) -> AsyncIterator[Run]:
    session = Run(manager)
    yield session
    if manager.knows(session.id):
        await manager.end(session.id)


@pytest_asyncio.fixture
async def session() -> AsyncIterator[Session]:
    async with Session(MemoryStorage(), limits=LIMITS) as opened:
        yield opened


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with serve(tmp_path_factory.mktemp("certificates")) as opened:
        yield opened
