"""``py-code-mode mcp`` as clients start it, driven by the official client over a real pipe."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import CallToolResult, ImageContent, TextContent

from contract.open_sessions import ECHO
from packages.wheels import sdist, wheel
from py_code_mode import FileStorage, RedisStorage
from redis_server import redis_prefix, shared_redis_url
from server.serving import eventually, is_alive

__all__ = ["redis_prefix", "shared_redis_url"]

pytestmark = pytest.mark.timeout(180)

COMMAND = str(Path(sys.executable).with_name("py-code-mode"))
NAMES = [
    "run_code",
    "list_tools",
    "search_tools",
    "list_skills",
    "search_skills",
    "create_skill",
    "delete_skill",
    "list_artifacts",
    "list_deps",
    "add_dep",
    "remove_dep",
]
SKILL = '"""Doubles."""\n\n\ndef run(x: int) -> int:\n    return 2 * x\n'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SECRET = "s3cret-of-the-test"


class Opened:
    """A connected client, as short to use in a test as it is in a program."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, /, **arguments: Any) -> CallToolResult:
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return result

    async def text(self, tool: str, /, **arguments: Any) -> str:
        result = await self.call(tool, **arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        assert not result.is_error, content.text
        return content.text

    async def run(self, code: str, **arguments: Any) -> str:
        return await self.text("run_code", code=code, **arguments)

    async def error(self, tool: str, /, **arguments: Any) -> str:
        result = await self.call(tool, **arguments)
        assert result.is_error
        (content,) = result.content
        assert isinstance(content, TextContent)
        return content.text


@asynccontextmanager
async def opened(
    *arguments: str,
    mode: str = "auto",
    cwd: Path | None = None,
    variables: dict[str, str] | None = None,
) -> AsyncIterator[Opened]:
    parameters = StdioServerParameters(
        command=COMMAND, args=["mcp", *arguments], env=variables, cwd=cwd
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        yield Opened(client)


@pytest.fixture
async def store(tmp_path: Path) -> FileStorage:
    """A folder with a tool, a skill of the operator's and an artifact."""
    store = FileStorage(tmp_path / "store")
    await store.tools.add("echo", ECHO)
    await store.skills.add("double", SKILL, origin="bootstrap")
    await store.artifacts.add("notes.txt", b"x", media_type="text/plain", description="Notes.")
    return store


@pytest.fixture
async def mcp(store: FileStorage, tmp_path: Path) -> AsyncIterator[Opened]:
    ready: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        # The client must be opened and closed by one task, which no fixture is.
        async with opened("--base", str(tmp_path / "store"), "--timeout", "20") as made:
            ready.set_result(made)
            await over.wait()

    holding = asyncio.create_task(hold())
    holding.add_done_callback(lambda _: ready.cancel())
    try:
        made = await ready
    except asyncio.CancelledError:
        await holding
        raise
    yield made
    over.set()
    await holding


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_stock_client_lists_the_tools_and_runs_code(tmp_path: Path, mode: str) -> None:
    async with opened(mode=mode, cwd=tmp_path) as mcp:
        assert [tool.name for tool in (await mcp.client.list_tools()).tools] == NAMES
        assert "run_code keeps variables" in (mcp.client.instructions or "")
        assert await mcp.run("x = 41\nprint('hi')") == "[stdout]\nhi"
        assert await mcp.run("x + 1") == "[value]\n42"
        assert await mcp.run("artifacts.save('a', 1)\n'x'") == "[value]\nx"
    assert (tmp_path / ".code-mode" / "artifacts" / "a").is_file()


async def test_every_tool_says_what_it_does_and_what_it_takes(mcp: Opened) -> None:
    tools = {tool.name: tool for tool in (await mcp.client.list_tools()).tools}
    for tool in tools.values():
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        for name, schema in tool.input_schema["properties"].items():
            assert schema["description"], (tool.name, name)
        assert tool.annotations is not None
    reading = {name for name, tool in tools.items() if tool.annotations.read_only_hint}  # type: ignore[union-attr]
    assert reading == {name for name in NAMES if name.startswith(("list_", "search_"))}
    assert {name: sorted(tool.input_schema["properties"]) for name, tool in tools.items()} == {
        "run_code": ["code", "timeout"],
        "list_tools": [],
        "search_tools": ["limit", "query"],
        "list_skills": [],
        "search_skills": ["limit", "query"],
        "create_skill": ["description", "name", "overwrite", "source"],
        "delete_skill": ["name"],
        "list_artifacts": [],
        "list_deps": [],
        "add_dep": ["package"],
        "remove_dep": ["package"],
    }


# What code gives


async def test_output_value_and_error_are_told_apart(mcp: Opened) -> None:
    code = "import sys\nprint('out'); print('err', file=sys.stderr)\n{'a': [1, b'x', 'é']}"
    assert await mcp.run(code) == (
        "[stdout]\nout\n[stderr]\nerr\n[value]\n"
        '{"a": [1, {"$type": "bytes", "base64": "eA=="}, "é"]}'
    )
    failed = await mcp.error("run_code", code="print('first')\n1/0")
    assert failed.startswith("[stdout]\nfirst\n[error]\nTraceback (most recent call last):\n")
    assert failed.endswith("ZeroDivisionError: division by zero")
    assert await mcp.run("y = 1") == "The code ran. It printed nothing and has no value."


async def test_images_are_images_and_other_displays_are_text(mcp: Opened) -> None:
    shown = f"class Shown:\n    def _repr_png_(self): return {PNG!r}\n"
    result = await mcp.call("run_code", code=f"{shown}display(Shown())\ndisplay('text')\n5")
    text, image = result.content
    assert isinstance(text, TextContent)
    assert text.text == "[display]\ntext\n[value]\n5"
    assert isinstance(image, ImageContent)
    assert (image.mime_type, base64.b64decode(image.data)) == ("image/png", PNG)


async def test_a_run_over_its_time_and_a_killed_one_are_told(mcp: Opened) -> None:
    await mcp.run("x = 1")
    slow = await mcp.error("run_code", code="while True: pass", timeout=0.3)
    assert "ExecutionTimeoutError: the code ran longer than 0.3 s" in slow
    assert await mcp.run("x") == "[value]\n1"
    killed = await mcp.error("run_code", code="import os\nos._exit(3)")
    assert "WorkerCrashed" in killed
    assert killed.endswith("[note] the variables and imports of earlier runs are lost")


async def test_a_cancelled_call_interrupts_its_run(mcp: Opened) -> None:
    await mcp.run("x = 1")
    call = asyncio.create_task(mcp.run("print('on')\nwhile True: pass", timeout=90))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(30):
        assert await mcp.run("x") == "[value]\n1"


# The namespaces


async def test_what_there_is_can_be_listed_and_searched(mcp: Opened) -> None:
    tool = {
        "name": "echo",
        "description": "Print a text again",
        "tags": ["text"],
        "callables": ["say"],
    }
    assert json.loads(await mcp.text("list_tools")) == tool
    found = json.loads(await mcp.text("search_tools", query="print a text", limit=1))
    assert {**tool, "score": found["score"]} == found
    skill = json.loads(await mcp.text("list_skills"))
    assert (skill["name"], skill["origin"]) == ("double", "bootstrap")
    assert json.loads(await mcp.text("search_skills", query="doubles"))["name"] == "double"
    assert json.loads(await mcp.text("list_artifacts"))["name"] == "notes.txt"
    assert await mcp.text("list_deps") == "No packages were added."
    assert (
        await mcp.run("tools.echo.say(text='hi') , skills.double(x=2)") == '[value]\n["hi\\n", 4]'
    )


async def test_skills_are_created_and_deleted(mcp: Opened) -> None:
    made = {"name": "triple", "source": SKILL.replace("2 *", "3 *")}
    assert await mcp.text("create_skill", **made) == "Saved skill triple, version 1."
    assert await mcp.run("skills.triple(x=2)") == "[value]\n6"
    assert "SkillExistsError" in await mcp.error("create_skill", **made)
    again = await mcp.text("create_skill", **made, overwrite=True, description="More.")
    assert again == "Saved skill triple, version 2."
    assert await mcp.text("delete_skill", name="triple") == "Deleted skill triple."
    assert "there is no skill 'triple'" in await mcp.error("delete_skill", name="triple")
    invalid = await mcp.error("create_skill", name="x", source="def run(:")
    assert "InvalidSkillError" in invalid
    assert "line 1" in invalid


async def test_a_model_cannot_change_the_skills_of_the_operator(mcp: Opened) -> None:
    for name, more in (
        ("create_skill", {"source": SKILL, "overwrite": True}),
        ("delete_skill", {}),
    ):
        told = await mcp.error(name, name="double", **more)
        assert "'double' was provided by the operator (origin 'bootstrap')" in told
    assert await mcp.run("skills.get('double').version") == "[value]\n1"


async def test_arguments_that_do_not_fit_are_told_to_the_model(mcp: Opened) -> None:
    assert await mcp.error("run_code") == "run_code: code: Field required"
    assert await mcp.error("run_code", cod="1") == (
        "run_code takes code, timeout, and has none called 'cod'; did you mean 'code'?"
    )
    assert "code: Input should be a valid string" in await mcp.error("run_code", code=["1"])
    assert "timeout: Input should be greater than 0" in await mcp.error(
        "run_code", code="1", timeout=-1
    )
    assert "over the limit of 360 s" in await mcp.error("run_code", code="1", timeout=361)
    assert "limit: " in await mcp.error("search_tools", query="x", limit=0)
    assert await mcp.error("nothing") == "Unknown tool: nothing"
    assert await mcp.run("1") == "[value]\n1"


# Packages


async def test_packages_are_added_and_removed(tmp_path: Path) -> None:
    wheel(tmp_path, "one")
    uv = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(tmp_path)}
    async with opened("--base", str(tmp_path / "store"), variables=uv) as mcp:
        assert await mcp.text("add_dep", package="one") == "Installed. Packages: one"
        assert await mcp.run("import one\none.__version__") == "[value]\n1.0"
        assert await mcp.text("list_deps") == "one"
        assert await mcp.text("remove_dep", package="one") == "Removed. Packages: none"
        told = await mcp.error("add_dep", package="https://packages.invalid/x.whl")
        assert told.startswith("add_dep: InvalidDepError: ")
    (tmp_path / "store" / "requirements.txt").write_text("one\n")
    async with opened("--base", str(tmp_path / "store"), "--no-runtime-deps", variables=uv) as mcp:
        assert [tool.name for tool in (await mcp.client.list_tools()).tools] == NAMES[:-2]
        assert "Unknown tool" in await mcp.error("add_dep", package="one")
        async with asyncio.timeout(60):  # what is listed is installed while the client is served
            while "1.0" not in str(await mcp.call("run_code", code="import one; one.__version__")):
                await asyncio.sleep(0.2)
        failed = await mcp.error("run_code", code="deps.add('two')")
        assert "RuntimeDepsDisabledError" in failed


async def test_packages_without_a_wheel_are_built_where_that_is_allowed(tmp_path: Path) -> None:
    # Of their own, as what was built once is found again by whoever asks for it.
    first, second = (f"src{secrets.token_hex(6)}" for _ in range(2))
    for name in (first, second):
        sdist(tmp_path, name, attempt="REPORT = 1")
    uv = {"UV_FIND_LINKS": str(tmp_path), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    base = ("--base", str(tmp_path / "store"))
    async with opened(*base, variables=uv) as mcp:
        assert "DEPS_ALLOW_BUILD" in await mcp.error("add_dep", package=first)
    async with opened(*base, variables={**uv, "DEPS_ALLOW_BUILD": "true"}) as mcp:
        assert first in await mcp.text("add_dep", package=first)
    flag = ("--allow-build", *base)
    async with opened(*flag, variables={**uv, "DEPS_ALLOW_BUILD": "false"}) as mcp:
        assert second in await mcp.text("add_dep", package=second)


# The process


async def test_everything_can_be_kept_in_redis(shared_redis_url: str, redis_prefix: str) -> None:
    store = RedisStorage(shared_redis_url, prefix=redis_prefix)
    await store.skills.add("double", SKILL)
    variables = {"REDIS_URL": shared_redis_url}
    async with opened("--redis", "-", "--prefix", redis_prefix, variables=variables) as mcp:
        assert json.loads(await mcp.text("list_skills"))["name"] == "double"
        await mcp.run("artifacts.save('a', 1)")
    try:
        assert [record.name for record in await store.artifacts.list()] == ["a"]
    finally:
        await store.aclose()


async def test_no_secret_of_the_environment_is_within_reach(tmp_path: Path) -> None:
    tools = tmp_path / "store" / "tools"
    tools.mkdir(parents=True)
    (tools / "env.yaml").write_text(
        "name: env\ndescription: Show what is set\ncommand: env\nenv: {SHOWN: '${TOOL_SHOWN}'}\n"
    )
    variables = {"TOOL_SHOWN": "for-the-tool"}
    variables |= {"TOOL_OTHER": SECRET, "MY_KEY": SECRET, "UV_KEY": SECRET}
    async with opened("--base", str(tmp_path / "store"), variables=variables) as mcp:
        shown = await mcp.run("tools.env()")
        assert "SHOWN=for-the-tool" in shown
        assert SECRET not in shown
        assert SECRET not in await mcp.run("import os; [dict(os.environ), os.listdir('.')]")
        for server in servers_of(os.getpid()):
            command = Path(f"/proc/{server}/cmdline").read_bytes()
            if os.geteuid() != 0:
                with pytest.raises(PermissionError):
                    Path(f"/proc/{server}/environ").read_bytes()
                continue
            environment = Path(f"/proc/{server}/environ").read_bytes()
            assert SECRET.encode() not in environment + command
            assert b"for-the-tool" not in environment + command


async def test_it_ends_with_its_client_and_leaves_no_process(tmp_path: Path) -> None:
    async with opened("--base", str(tmp_path)) as mcp:
        await mcp.run("1")
        (server,) = servers_of(os.getpid())
        family = [server, *below(server)]
        assert len(family) >= 3  # the server, its zygote, a worker
    eventually(lambda: not any(map(is_alive, family)))


#: Asks for a run that takes long, as a line of the protocol's first version that has a handshake.
HANDSHAKE = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
]


@contextmanager
def started(
    folder: Path, *messages: dict[str, Any], options: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that has got these messages, after a handshake."""
    with subprocess.Popen(
        [COMMAND, "mcp", "--base", str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdin is not None
            for message in (*HANDSHAKE, *messages):
                process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["id"] == 1
            yield process
        finally:
            process.kill()


def call_of(code: str) -> dict[str, Any]:
    params = {"name": "run_code", "arguments": {"code": code}}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


@pytest.mark.parametrize("end", ["stdin", "SIGTERM", "SIGINT", "SIGHUP"])
def test_it_ends_in_the_middle_of_a_run(tmp_path: Path, end: str) -> None:
    flag = tmp_path / "artifacts" / "on"
    code = "artifacts.save('on', 1)\nwhile True: pass"
    with started(tmp_path, call_of(code)) as process:
        eventually(flag.exists)
        family = [process.pid, *below(process.pid)]
        if end == "stdin":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(signal.Signals[end])
        assert process.wait(30) == 0
        eventually(lambda: not any(map(is_alive, family)))


def test_standard_output_has_the_protocol_alone(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "bad.yaml").write_text("name: [")
    code = "import os\nos.write(1, b'raw')\nprint('x')\ntools.list()"
    with started(tmp_path, call_of(code)) as process:
        assert process.stdout is not None
        answer = json.loads(process.stdout.readline())
        assert answer["id"] == 2
        assert answer["result"]["content"][0]["text"] == "[stdout]\nx\n[value]\n[]"
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, b"")
    assert b"bad tool file: bad.yaml:" in errors


def test_what_is_logged_is_json_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "bad.yaml").write_text("name: [")
    with started(tmp_path, call_of("tools.list()"), options=("--json",)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _, errors = process.communicate(timeout=30)
    lines = [json.loads(line) for line in errors.decode().splitlines()]
    assert any(line["event"].startswith("bad tool file: bad.yaml:") for line in lines)
    assert {line["level"] for line in lines} == {"warning"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timeout", "0"], "argument --timeout: invalid number of seconds value: '0'"),
        (["--base", "x", "--redis", "y"], "argument --redis: not allowed with argument --base"),
        (["--redis", "-"], "--redis - needs the variable REDIS_URL"),
        (["--redis", "nonsense"], "py-code-mode mcp: "),
        (["--redis", "redis://127.0.0.1:1/"], "py-code-mode mcp: "),
        (["--base", ""], "--base needs the name of a folder"),
        (["--what"], "unrecognized arguments: --what"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = subprocess.run(
        [COMMAND, "mcp", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_package_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['mcp'] = None\n" + (
        "from py_code_mode.cli.mcp import main\nsys.exit(main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "py-code-mode mcp: the package mcp is missing, which is part of an extra:"
        " pip install 'py-code-mode[mcp]'\n"
    )


def servers_of(parent: int) -> list[int]:
    """Return the servers below a process."""
    return [
        pid
        for pid in below(parent)
        if b"py_code_mode.mcp_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def below(top: int) -> list[int]:
    """Return every process below one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    family = [top]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return family[1:]
