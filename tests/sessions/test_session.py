"""The library's ``Session``, and many sessions at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from py_code_mode import FileStorage, Limits, MemoryStorage, Session
from py_code_mode.errors import (
    ArtifactNotFoundError,
    CapacityError,
    ConfigurationError,
    InvalidSessionIdError,
    SearchUnavailableError,
    SessionClosedError,
    SkillExistsError,
)
from py_code_mode.models import SessionId
from py_code_mode.search.embedder import Vectors
from py_code_mode.services.registry import Services
from py_code_mode.sessions.manager import SessionManager
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig


async def test_what_one_session_keeps_another_finds(tmp_path: Path) -> None:
    async with Session.from_base(tmp_path) as first:
        await first.run("skills.create('one', 'def run(): return 1'); artifacts.save('a/b', [1])")
    assert (tmp_path / "skills" / "one.py").read_text() == "def run(): return 1"
    async with Session(FileStorage(base_path=str(tmp_path))) as second:
        result = await second.run("skills.one(), artifacts.load('a/b')")
    assert result.value == [1, [1]]


async def test_a_skill_edited_by_hand_is_seen_by_the_next_call(tmp_path: Path) -> None:
    async with Session.from_base(tmp_path) as session:
        await session.add_skill("edited", "def run(): return 'old'")
        (tmp_path / "skills" / "edited.py").write_text("def run(): return 'new'")
        assert (await session.run("skills.edited()")).value == "new"
        refused = await session.run("skills.create('edited', 'def run(): ...', overwrite=True)")
        assert refused.error_type == "SkillProtectedError"


async def test_the_doors_of_the_library_do_what_agent_code_does(session: Session) -> None:
    created = await session.add_skill("s", '"""Doubles numbers."""\ndef run(x: int): return 2 * x')
    assert (created.name, created.origin, created.version) == ("s", "api", 1)
    with pytest.raises(SkillExistsError):
        await session.add_skill("s", "def run(): ...")
    assert [skill.name for skill in await session.list_skills()] == ["s"]
    assert [skill.name for skill in await session.search_skills("double")] == ["s"]
    assert (await session.get_skill("s")).source.startswith('"""Doubles')
    await session.save_artifact("x", {"a": b"".decode()}, description="d", metadata={"m": 1})
    assert await session.load_artifact("x") == {"a": ""}
    assert [dict(record)["metadata"] for record in await session.list_artifacts()] == [{"m": 1}]
    await session.delete_artifact("x")
    with pytest.raises(ArtifactNotFoundError):
        await session.load_artifact("x")
    await session.remove_skill("s")
    assert await session.list_skills() == []


async def test_stream_tells_what_happens_and_ends_with_the_result(session: Session) -> None:
    events = [e async for e in session.stream("print('a')\ndisplay('b')\nprint('c')\n7")]
    assert [event.kind for event in events] == ["stdout", "display", "stdout", "result"]
    assert (events[0].data, events[-1].data.value) == ({"text": "a\n"}, 7)


async def test_leaving_a_stream_interrupts_its_run(session: Session) -> None:
    async for event in session.stream("x = 1\nprint('started')\nwhile True: pass"):
        assert event.data == {"text": "started\n"}
        break
    assert (await session.run("x")).value == 1


async def test_interrupt_and_reset_of_a_session_that_never_ran(session: Session) -> None:
    assert not await session.interrupt()
    await session.reset()
    assert (await session.run("1")).state.generation == 1


async def test_info_says_which_sandbox_is_in_force(session: Session) -> None:
    info = await session.info()
    assert info["sandbox"]["tier"] in "ABC"
    assert info["limits"]["memory_mb"] == 512
    assert "open" in repr(session)


async def test_without_enforcement_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with Session(MemoryStorage(), sandbox="off") as session:
        assert (await session.info())["sandbox"]["tier"] == "none"
        assert "sandbox off" in repr(session)
        assert (await session.run("import os; os.system('true')")).value == 0
        assert (await session.run("while True: pass", timeout=0.2)).error_type == (
            "ExecutionTimeoutError"
        )
    assert "sandbox is off" in caplog.text


async def test_a_closed_session_says_how_to_open_it() -> None:
    session = Session(MemoryStorage())
    with pytest.raises(SessionClosedError, match="async with"):
        await session.run("1")


async def test_bad_arguments_are_refused_at_once() -> None:
    with pytest.raises(InvalidSessionIdError):
        Session(MemoryStorage(), session_id="a b")
    with pytest.raises(ConfigurationError, match="sandbox"):
        Session(MemoryStorage(), sandbox="maybe")  # type: ignore[arg-type]


def many(limits: Limits) -> SessionManager:
    return SessionManager(
        pool=Pool(ZygoteConfig(root="/tmp/py-code-mode-test", limits=limits)),
        services=Services(MemoryStorage(), limits=limits),
        limits=limits,
    )


async def test_fifty_sessions_at_once_mix_nothing() -> None:
    async with many(Limits(pool_size=4)) as manager:

        async def one(i: int) -> None:
            session_id = SessionId(f"session-{i}")
            await manager.run(
                session_id, f"import os, time\nme = {i}\nopen('f', 'w').write(str(me))"
            )
            code = "for _ in range(5): print(me); time.sleep(0.02)\nassert me % 10, me\n[me, open('f').read()]"
            result = await manager.run(session_id, code)
            assert result.stdout == f"{i}\n" * 5
            if i % 10:
                assert result.value == [i, str(i)]
            else:
                assert result.error_type == "AssertionError"

        await asyncio.gather(*(one(i) for i in range(50)))


async def test_the_idlest_session_makes_room_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py_code_mode.sessions.manager._EVICTABLE_AFTER_S", 0.2)
    async with many(Limits(max_sessions=2)) as manager:
        a, b, c = (SessionId(name) for name in "abc")
        await manager.run(a, "x = 1")
        await manager.run(b, "x = 2")
        with pytest.raises(CapacityError, match="try again"):
            await manager.run(c, "x = 3")
        await asyncio.sleep(0.3)
        await manager.run(b, "x")
        await manager.run(c, "x = 3")
        await asyncio.sleep(0.3)
        assert (await manager.run(a, "1")).state.lost


async def test_an_idle_session_expires_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py_code_mode.sessions.manager._EXPIRY_PERIOD_S", 0.1)
    async with many(Limits(session_idle_timeout_s=0.3)) as manager:
        await manager.run(SessionId("a"), "x = 1")
        await asyncio.sleep(0.8)
        result = await manager.run(SessionId("a"), "'x' in globals()")
        assert (result.value, result.state.lost) == (False, True)


HOST = """
import asyncio, sys
from py_code_mode import MemoryStorage, Session
async def main():
    async with Session(MemoryStorage()) as session:
        zygote = session._manager.pool._zygote
        result = await session.run("import os; os.getcwd()")
        print(zygote.pid, session._manager.pool.workers[0].pid, result.value, flush=True)
        await session.run("while True: pass", timeout=300)
asyncio.run(main())
"""


def test_a_killed_host_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    with host, host.stdout as stdout:
        zygote, worker, folder = stdout.readline().split()
        host.send_signal(signal.SIGKILL)
        host.wait(10)
    deadline = time.monotonic() + 10
    paths = [f"/proc/{zygote}", f"/proc/{worker}", os.path.dirname(folder)]
    while any(map(os.path.exists, paths)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path for path in paths if os.path.exists(path)] == []


async def test_a_killed_zygote_is_replaced_and_the_loss_told() -> None:
    async with many(Limits(pool_size=1)) as manager:
        await manager.run(SessionId("a"), "x = 1")
        zygote = manager.pool._zygote
        assert zygote is not None
        os.kill(zygote.pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        result = await manager.run(SessionId("a"), "2")
        assert (result.value, result.state.lost) == (2, True)


async def test_churn_leaves_no_process_no_folder_and_no_descriptor() -> None:
    async with many(Limits(pool_size=2)) as manager:
        await manager.run(SessionId("warm"), "1")
        await asyncio.sleep(0.3)
        before = len(os.listdir("/proc/self/fd"))
        for i in range(60):
            name = SessionId(f"s{i}")
            await manager.run(name, "open('f', 'w').write('x'); import os; os.makedirs('a/b/c')")
            await manager.end(name)
        deadline = time.monotonic() + 10
        while len(manager.pool._workers) > 3 and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        zygote = manager.pool._zygote
        assert zygote is not None
        children = Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text().split()
        assert len(children) <= 4
        assert len(os.listdir("/proc/self/fd")) <= before + 4


async def test_the_embedder_is_the_callers_choice() -> None:
    class Blind:
        id, dim = "blind", 4

        def embed_docs(self, texts: Sequence[str]) -> Vectors:
            raise SearchUnavailableError("the model is out")

        def embed_query(self, text: str) -> Vectors:
            raise SearchUnavailableError("the model is out")

    store = MemoryStorage()
    async with Session(store, embedder=Blind()) as session:
        await session.add_skill("resize", "def run(): pass", "Make pictures smaller")
        with pytest.raises(SearchUnavailableError, match="the model is out"):
            await session.search_skills("smaller pictures")
    async with Session(store, embedder=Blind(), search_fallback="lexical") as session:
        (found,) = await session.search_skills("smaller pictures")
        assert (found["name"], found["ranking"]) == ("resize", "lexical")
