"""What the client does when servers, proxies and connections do not behave."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from typing import Any

import pytest

from client.scripted import RESULT, Answer, Request, answering, scripted
from py_code_mode import SessionClient
from py_code_mode.errors import (
    CapacityError,
    CodeModeError,
    ConfigurationError,
    DrainingError,
    ExecutionOutcomeUnknownError,
    InvalidSessionIdError,
    ServerUnreachableError,
    SessionClosedError,
    UnauthorizedError,
)

SECRET = "s3cret-of-the-test-0123456789"
OK = Answer(body=RESULT)


def client(url: str, **options: Any) -> SessionClient:
    return SessionClient(url, auth_token=SECRET, session_id="a-session", **options)


def problem(status: int, code: str, **more: Any) -> Answer:
    body = {"type": "about:blank", "title": "", "status": status, "detail": f"{code}!"}
    return Answer(status, {**body, "code": code, **more})


# What is sent


async def test_a_request_carries_token_session_and_code() -> None:
    async with scripted(answering(OK)) as server, client(server.url) as session:
        assert (await session.execute("1 + 1", timeout=5, execution_id="x")).value == 2
    (asked,) = server.requests
    assert (asked.method, asked.path) == ("POST", "/execute")
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert asked.headers["x-session-id"] == "a-session"
    assert json.loads(asked.body) == {"code": "1 + 1", "timeout": 5, "execution_id": "x"}


async def test_runs_without_a_timeout_take_that_of_the_client() -> None:
    async with scripted(answering(OK)) as server, client(server.url, timeout=7) as session:
        await session.run("1")
        await session.run("1", timeout=3)
    assert [json.loads(asked.body)["timeout"] for asked in server.requests] == [7, 3]


async def test_a_session_keeps_its_cookies_and_shares_them_with_nobody() -> None:
    sets = Answer(body=RESULT, headers={"Set-Cookie": "affinity=replica-1; Path=/; HttpOnly"})
    async with (
        scripted(answering(sets)) as server,
        client(server.url) as one,
        client(server.url) as two,
    ):
        await one.run("1")
        await one.run("2")
        await two.run("3")
    cookies = [asked.headers.get("cookie") for asked in server.requests]
    assert cookies == [None, "affinity=replica-1", None]


async def test_a_path_before_the_routes_is_kept() -> None:
    async with scripted(answering(OK)) as server, client(f"{server.url}/sessions/") as session:
        await session.run("1")
    assert server.requests[0].path == "/sessions/execute"


# Ends


async def test_a_session_that_it_made_is_ended_on_exit() -> None:
    async with scripted(answering(OK)) as server:
        async with SessionClient(server.url, auth_token=SECRET) as session:
            await session.run("1")
        async with SessionClient(server.url, auth_token=SECRET):
            pass  # nothing ran, so there is no session
        async with client(server.url) as session:
            await session.run("1")
    asked = [(request.method, request.path) for request in server.requests]
    assert asked == [("POST", "/execute"), ("DELETE", "/session"), ("POST", "/execute")]
    ids = [request.headers["x-session-id"] for request in server.requests]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) >= 22


async def test_an_exit_that_cannot_reach_the_server_is_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        scripted(answering(OK, None)) as server,
        SessionClient(server.url, auth_token=SECRET) as session,
    ):
        await session.run("1")
    assert "was not ended: the connection to" in caplog.text
    with pytest.raises(SessionClosedError):
        await session.run("1")
    with pytest.raises(SessionClosedError, match="is opened once"):
        await session.__aenter__()


# Connections that break


async def test_a_run_is_not_sent_again_when_nobody_knows_what_became_of_it() -> None:
    async with scripted(answering(OK, None)) as server, client(server.url) as session:
        await session.run("1")
        with pytest.raises(ServerUnreachableError, match="nobody knows whether") as caught:
            await session.run("2")
    assert len(server.requests) == 2
    assert "execution_id" in str(caught.value)
    assert isinstance(caught.value, ConnectionError)


async def test_a_run_with_an_id_is_sent_again_and_attaches() -> None:
    async with scripted(answering(OK, None, None, OK)) as server, client(server.url) as session:
        await session.run("1")
        assert (await session.run("2", execution_id="mine")).value == 2
    bodies = [json.loads(request.body) for request in server.requests]
    assert bodies[1:] == [{"code": "2", "execution_id": "mine"}] * 3


async def test_attempts_are_bounded() -> None:
    async with scripted(answering(None)) as server, client(server.url) as session:
        with pytest.raises(ServerUnreachableError):
            await session.run("1", execution_id="mine")
    assert len(server.requests) == 4


async def test_what_only_reads_is_sent_again_and_what_creates_is_not() -> None:
    async with scripted(answering(None, Answer(body=[]))) as server, client(server.url) as session:
        assert await session.list_skills() == []
    async with scripted(answering(None)) as server, client(server.url) as session:
        with pytest.raises(ServerUnreachableError):
            await session.add_skill("a", "def run(): ...")
        with pytest.raises(ServerUnreachableError):
            await session.remove_skill("a")
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


async def test_a_connection_that_was_closed_while_idle_is_not_used_again() -> None:
    closing = Answer(body=RESULT, close=True)
    async with scripted(answering(closing)) as server, client(server.url) as session:
        for _ in range(3):
            await session.run("1")
            await asyncio.sleep(0.1)
    assert [request.connection for request in server.requests] == [1, 2, 3]


async def test_a_server_that_is_not_there_is_told_after_a_few_attempts() -> None:
    async with scripted(answering(OK)) as server:
        pass
    async with client(server.url) as session:
        with pytest.raises(ServerUnreachableError, match=f"can be reached at {server.url}"):
            await session.run("1")


async def test_a_server_that_comes_back_is_waited_for() -> None:
    async with scripted(answering(OK)) as server:
        pass
    port = int(server.url.rpartition(":")[2])
    async with client(server.url) as session:
        run = asyncio.create_task(session.run("1"))
        await asyncio.sleep(0.2)
        again = await asyncio.start_server(server.serve, "127.0.0.1", port)
        assert (await run).value == 2
        again.close()


async def test_a_server_that_drains_is_asked_again_for_it_has_done_nothing() -> None:
    draining = problem(503, "draining")
    answers = answering(draining, draining, OK)
    async with scripted(answers) as server, client(server.url) as session:
        assert (await session.run("1")).value == 2
    async with scripted(answering(draining)) as server, client(server.url) as session:
        with pytest.raises(DrainingError):
            await session.run("1")


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_that_gives_up_is_asked_again_where_that_is_safe(status: int) -> None:
    cut = Answer(status, b"<html>upstream request timeout</html>")
    async with scripted(answering(cut, OK)) as server, client(server.url) as session:
        assert (await session.run("1", execution_id="mine")).value == 2
    async with scripted(answering(cut, OK)) as server, client(server.url) as session:
        with pytest.raises(ServerUnreachableError, match=f"HTTP {status}"):
            await session.run("1")
        assert len(server.requests) == 1


async def test_a_stream_that_breaks_off_is_an_error() -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    event = 'event: stdout\ndata: {"text": "a"}\n\n: still running\n\n'

    class Half(Answer):
        def encoded(self) -> bytes:
            return f"{head}\r\n{event}".encode()

    seen: list[Any] = []

    async def read(session: SessionClient) -> None:
        async for each in session.stream("1"):
            seen.append(each.data)  # noqa: PERF401 - what came before the error counts

    async with scripted(answering(Half(close=True))) as server, client(server.url) as session:
        with pytest.raises(ServerUnreachableError):
            await read(session)
    assert seen == [{"text": "a"}]


# Answers


async def test_errors_have_the_class_of_their_code_and_its_fields() -> None:
    answers = (
        problem(401, "unauthorized"),
        Answer(429, {"code": "capacity", "detail": "full"}, {"Retry-After": "5"}),
        problem(409, "execution_outcome_unknown"),
        problem(418, "of_the_future", shape="round"),
    )
    caught: list[CodeModeError] = []
    async with scripted(answering(*answers)) as server, client(server.url) as session:
        for _ in answers:
            with pytest.raises(CodeModeError) as each:
                await session.run("1")
            caught.append(each.value)
    kinds = [UnauthorizedError, CapacityError, ExecutionOutcomeUnknownError, CodeModeError]
    assert [type(each) for each in caught] == kinds
    assert isinstance(caught[1], CapacityError)
    assert caught[1].retry_after_s == 5
    assert (caught[3].code, caught[3].message) == ("of_the_future", "of_the_future!")
    assert caught[3].fields["shape"] == "round"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_refused_and_the_token_goes_nowhere(status: int) -> None:
    async with scripted(answering(OK)) as elsewhere:
        moved = Answer(status, b"", {"Location": f"{elsewhere.url}/execute?x={SECRET}"})
        async with scripted(answering(moved)) as server, client(server.url) as session:
            for call in (session.run("1"), session.list_tools(), session.load_artifact("a")):
                with pytest.raises(
                    ConfigurationError, match="Redirects are not followed"
                ) as caught:
                    await call
                assert f"to {elsewhere.url}/execute;" in str(caught.value)
                assert SECRET not in str(caught.value)
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>hello</html>"),
        Answer(404, b"nothing here"),
        Answer(500, [1]),
        Answer(403, {"detail": "x"}),
    ],
    ids=["html", "text", "list", "no-code"],
)
async def test_what_is_no_session_server_is_told(answer: Answer) -> None:
    async with scripted(answering(answer)) as server, client(server.url) as session:
        with pytest.raises(ConfigurationError, match="is no session server"):
            await session.run("1")


# The token


async def test_the_token_is_in_no_repr_error_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def echo(request: Request) -> Answer:
        return Answer(400, f"you sent {request.headers['authorization']}".encode())

    texts: list[str] = []
    async with scripted(echo) as server, client(server.url) as session:
        texts += [repr(session), str(vars(session)), repr(vars(session._connection))]
        for call in (session.run("1"), session.list_tools(), session.info()):
            with pytest.raises(ConfigurationError) as caught:
                await call
            texts += traceback.format_exception(caught.value)
    async with client(server.url) as session:
        with pytest.raises(ServerUnreachableError) as unreachable:
            await session.list_tools()
        texts += traceback.format_exception(unreachable.value)
    with pytest.raises(ConfigurationError) as refused:
        SessionClient(server.url, auth_token=f"{SECRET}\r\nX-Evil: 1")
    texts += traceback.format_exception(refused.value)
    assert "you sent Bearer ***" in "".join(texts)
    assert SECRET not in "".join(texts)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auth_token": ""}, "printable ASCII"),
        ({"auth_token": "a b"}, "printable ASCII"),
        ({"auth_token": "é" * 16}, "printable ASCII"),
        ({}, "needs auth_token"),
        ({"auth_token": SECRET, "token": SECRET}, "needs auth_token"),
    ],
)
def test_a_token_that_cannot_work_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SessionClient("http://127.0.0.1", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8080", "ftp://x", "http://", "http://a:b@x", "http://x?y=1", "http://x#y"],
)
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the URL of a session server must"):
        SessionClient(url, auth_token=SECRET)


def test_a_session_id_that_cannot_work_is_refused() -> None:
    with pytest.raises(InvalidSessionIdError):
        SessionClient("http://127.0.0.1", auth_token=SECRET, session_id="a b")


def test_without_httpx2_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["httpx2"] = None
import py_code_mode
assert "SessionClient" in dir(py_code_mode)
try:
    py_code_mode.SessionClient
except ImportError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == (
        "MissingClientError SessionClient needs httpx2, which is an extra:"
        " pip install 'py-code-mode[client]'\n"
    )


def test_the_package_is_imported_without_httpx2() -> None:
    code = "import sys, py_code_mode; py_code_mode.Session; print('httpx2' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
