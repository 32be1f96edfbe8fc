"""Workers and jails that are started before anybody asks for them."""

from __future__ import annotations

import asyncio

import pytest

from py_code_mode.errors import WorkerStartError
from py_code_mode.models import Limits, Program
from py_code_mode.workers import jails
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig


def new_pool(pool_size: int) -> Pool:
    return Pool(ZygoteConfig(root="/tmp/py-code-mode-test", limits=Limits(pool_size=pool_size)))


async def test_whoever_asks_gets_the_worker_that_is_being_forked() -> None:
    async with new_pool(0) as pool:  # one is forked at the start whatever the size
        worker = await pool.checkout()
        assert pool.workers == [worker]
        assert await pool.checkout() is not worker
        assert len(pool.workers) == 2


async def test_a_worker_that_died_while_it_waited_is_given_to_nobody() -> None:
    async with new_pool(1) as pool:
        first = await pool.checkout()
        pool.refill()
        async with asyncio.timeout(20):
            while not pool.ahead:
                await asyncio.sleep(0.01)
        (waiting,) = (worker for worker in pool.workers if worker is not first)
        waiting.kill("closed")
        await waiting.died()
        given = await pool.checkout()
        assert given.alive
        assert given is not waiting
        assert pool.deaths == {"closed": 1}


async def test_a_pool_that_closes_frees_whoever_waits() -> None:
    pool = new_pool(1)
    await pool.__aenter__()
    waiting = [asyncio.create_task(pool.checkout()) for _ in range(3)]
    await asyncio.sleep(0)
    await pool.aclose()
    async with asyncio.timeout(20):
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, WorkerStartError) for error in done), done


async def test_someone_who_stops_waiting_leaves_the_worker_to_the_next() -> None:
    async with new_pool(1) as pool:
        impatient = asyncio.create_task(pool.checkout())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        worker = await pool.checkout()
        assert pool.workers == [worker]


async def test_jails_are_started_ahead_and_ended_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(("/bin/echo", "hi"), {"PATH": "/bin"})
    async with new_pool(1) as pool:
        pool.start_jails_ahead()
        async with asyncio.timeout(20):
            while not pool.jails.processes:
                await asyncio.sleep(0.01)
        worker = await pool.checkout()
        (started,) = pool.jails.processes
        assert (await pool.jails.of(worker).run(program)).stdout == b"hi\n"
        assert pool.jails.processes == [started]
        pool.jails.end_idle()
        assert started.alive
        monkeypatch.setattr(jails, "_KEPT_IDLE_S", 0.0)
        pool.jails.end_idle()
        async with asyncio.timeout(20):
            while pool.jails.processes:
                await asyncio.sleep(0.01)
        assert (await pool.jails.of(worker).run(program)).stdout == b"hi\n"


async def test_a_worker_that_is_buried_can_be_discarded_again() -> None:
    async with new_pool(0) as pool:
        worker = await pool.checkout()
        pool.discard(worker)
        async with asyncio.timeout(20):
            while pool._tasks:
                await asyncio.sleep(0.01)
        pool.discard(worker)
        assert not pool._tasks
