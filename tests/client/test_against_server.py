"""The client against the real server: what only one of its kind can have."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from contract.open_sessions import CAT, server, wheels
from py_code_mode import SessionClient
from py_code_mode.errors import ExecutionIdReusedError, SkillProtectedError, UnauthorizedError
from server.serving import TOKEN, Server, place

__all__ = ["server", "wheels"]

pytestmark = pytest.mark.timeout(180)

#: Counts its runs in an artifact, and takes long enough to be cut off.
COUNTING = """
import time
time.sleep(1.5)
n = artifacts.load('count') + 1 if artifacts.exists('count') else 1
artifacts.save('count', n)
n
"""


@contextlib.asynccontextmanager
async def cutting(server: Server, *, after_s: float, times: int) -> AsyncIterator[str]:
    """A proxy that cuts its first connections in the middle of whatever they wait for."""
    left = times

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        cut, left = left > 0, left - 1
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(after_s if cut else None):
                await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        await closed(writer, back)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    finally:
        proxy.close()
        await proxy.wait_closed()
        await asyncio.sleep(0.1)  # what it closed has closed


async def closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_run_with_an_id_survives_its_connections_and_runs_once(server: Server) -> None:
    async with (
        cutting(server, after_s=0.4, times=2) as url,
        SessionClient(url, auth_token=TOKEN) as session,
    ):
        assert (await session.run(COUNTING, execution_id="one")).value == 1
        assert (await session.run(COUNTING, execution_id="one")).value == 1
        assert (await session.run(COUNTING, execution_id="two")).value == 2
        with pytest.raises(ExecutionIdReusedError, match="'two' was used for other code"):
            await session.run("1", execution_id="two")
        await session.delete_artifact("count")


async def test_a_run_with_an_id_goes_on_when_nobody_waits(server: Server) -> None:
    async with SessionClient(server.url, auth_token=TOKEN) as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.run(COUNTING, execution_id="one")
        assert (await session.run(COUNTING, execution_id="one")).value == 1
        await session.delete_artifact("count")


async def test_a_client_ends_its_own_session_and_leaves_one_whose_id_it_was_given(
    server: Server,
) -> None:
    async with SessionClient(server.url, auth_token=TOKEN) as session:
        await session.run("x = 1")
        ours = session.session_id
    async with SessionClient(server.url, auth_token=TOKEN, session_id=ours) as session:
        assert (await session.run("'x' in globals()")).value is False
        await session.run("x = 2")
    async with SessionClient(server.url, auth_token=TOKEN, session_id=ours) as session:
        result = await session.run("x")
        assert (result.value, result.state.lost) == (2, False)


async def test_a_wrong_token_is_told(server: Server) -> None:
    async with SessionClient(server.url, auth_token="not-the-token-of-the-server") as session:
        with pytest.raises(UnauthorizedError, match="send the server's token"):
            await session.run("1")


async def test_a_folder_of_the_operators_is_served_and_cannot_be_changed() -> None:
    source = '"""Greets."""\n\n\ndef run() -> str:\n    return "hello"\n'
    with place() as own:
        for below, name, text in (("tools", "cat.yaml", CAT), ("skills", "greet.py", source)):
            (own.folder / "config" / below).mkdir(parents=True)
            (own.folder / "config" / below / name).write_text(text)
        url = own.start(CONFIG_PATH=str(own.folder / "config")).url
        async with SessionClient(url, auth_token=TOKEN) as session:
            assert [tool.name for tool in await session.list_tools()] == ["cat"]
            assert [skill.origin for skill in await session.list_skills()] == ["config"]
            assert (await session.run("skills.greet()")).value == "hello"
            with pytest.raises(SkillProtectedError, match="in CONFIG_PATH") as caught:
                await session.remove_skill("greet")
            assert caught.value.name == "greet"
