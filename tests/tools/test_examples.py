"""The example tools do what they say, with the real programs and a local server."""

from __future__ import annotations

import json
import runpy
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from py_code_mode.errors import InvalidArgumentError, ToolCallError
from py_code_mode.services.skill_source import read_skill
from py_code_mode.tools.cli import CliTool
from py_code_mode.tools.loading import load_definition
from tools.jails import BareJail, RecordingJail, caller

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "shared"
FIXED = [
    "-q",
    "--proto",
    "=http,https",
    "--proto-redir",
    "=http,https",
    "--globoff",
    "--show-error",
]


def example(name: str) -> CliTool:
    file = EXAMPLES / "tools" / f"{name}.yaml"
    return CliTool(load_definition(file.read_text(), file=file.name), variables={})


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


async def argv(name: str, recipe: str | None = None, *args: Any, **kwargs: Any) -> list[str]:
    """What follows the program's name in a call; the program need not be installed."""
    jail = RecordingJail()
    tool = example(name)
    tool.program = f"/usr/bin/{name}"
    await tool.call(recipe, args, kwargs, caller(jail))
    return jail.argv


class Server(BaseHTTPRequestHandler):
    """Answers with what it was asked, as JSON; /away redirects, /missing is 404."""

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            target = self.path.partition("?")[2] or "/"
            self._answer(302, b"", Location=target)
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.rfile.read(length).decode(),
        }
        self._answer(404 if self.path == "/missing" else 200, json.dumps(body).encode())

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the names that the base looks for

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def call(folder: Path, name: str, recipe: str | None, *args: Any, **kwargs: Any) -> Any:
    return await example(name).call(recipe, args, kwargs, caller(BareJail(folder)))


@installed("curl")
async def test_curl_gets_and_follows_redirects(url: str, tmp_path: Path) -> None:
    answer = json.loads(await call(tmp_path, "curl", "get", f"{url}/away?/a%20b[1-3]{{x,y}}"))
    assert (answer["method"], answer["path"]) == ("GET", "/a%20b[1-3]{x,y}")
    plain = json.loads(await call(tmp_path, "curl", None, url=f"{url}/x", silent=True))
    assert plain["path"] == "/x"


@installed("curl")
async def test_curl_sends_headers_and_bodies_as_they_are(url: str, tmp_path: Path) -> None:
    header = ["X-One: 1", "X-Two: a, b"]
    got = json.loads(await call(tmp_path, "curl", "get_with_headers", url, header=header))
    assert (got["headers"]["X-One"], got["headers"]["X-Two"]) == ("1", "a, b")
    posted = json.loads(await call(tmp_path, "curl", "post_json", url, data='{"a": "ä"}'))
    assert (posted["method"], posted["body"]) == ("POST", '{"a": "ä"}')
    assert posted["headers"]["Content-Type"] == "application/json"
    put = json.loads(await call(tmp_path, "curl", None, url, request="PUT", data="x", silent=True))
    assert (put["method"], put["body"]) == ("PUT", "x")


@installed("curl")
async def test_curl_shows_headers(url: str, tmp_path: Path) -> None:
    assert (await call(tmp_path, "curl", "head", url)).startswith("HTTP/1.0 200 OK\r\n")
    both = await call(tmp_path, "curl", None, url, include=True, silent=True)
    assert both.startswith("HTTP/1.0 200 OK\r\n")
    assert both.rstrip().endswith("}")


@installed("curl")
async def test_curl_tells_why_it_failed(url: str, tmp_path: Path) -> None:
    assert "/missing" in await call(tmp_path, "curl", "get", f"{url}/missing")
    with pytest.raises(ToolCallError) as caught:
        await call(tmp_path, "curl", None, f"{url}/missing", fail=True, silent=True)
    assert caught.value.exit_code == 22
    assert '"path": "/missing"' in caught.value.stdout
    with pytest.raises(ToolCallError, match=r"exit code 6: curl: \(6\) Could not resolve host"):
        await call(tmp_path, "curl", "get", "http://no.such.host.invalid/")


@installed("curl")
@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.1:6379/_x", "dict://127.0.0.1/",
     "ftp://127.0.0.1/", "scp://127.0.0.1/x", "ldap://127.0.0.1/", "telnet://127.0.0.1:25"],
)  # fmt: skip
async def test_curl_speaks_http_and_https_alone(url: str, tmp_path: Path, target: str) -> None:
    for address in (target, f"{url}/away?{target}"):
        with pytest.raises(ToolCallError) as caught:
            await call(tmp_path, "curl", "get", address)
        assert caught.value.exit_code == 1, caught.value.message
        assert caught.value.stdout == ""


@installed("curl")
async def test_curl_reads_and_writes_no_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("X-Secret: 1")
    (tmp_path / ".curlrc").write_text('output = "written"\nuser-agent = "from-curlrc"\n')
    sent = json.loads(await call(tmp_path, "curl", None, url, data="@secret", silent=True))
    assert sent["body"] == "@secret"
    assert "from-curlrc" not in sent["headers"]["User-Agent"]
    for header in ("@secret", "X: 1\r\nY: 2", ""):
        with pytest.raises(InvalidArgumentError, match="needs 'header' to match"):
            await call(tmp_path, "curl", None, url, header=[header])
    for target in ("-Ksecret", "--version", "-o", "-"):
        with pytest.raises(InvalidArgumentError, match="refuses a 'url' that begins with '-'"):
            await call(tmp_path, "curl", "get", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".curlrc", "secret"]


@installed("curl")
@pytest.mark.parametrize(
    "line",
    ['url = "file:///etc/passwd"', 'proto = "=file,gopher"', 'output = "written"', "netrc",
     'user-agent = "steered"', 'proxy = "http://127.0.0.1:1"', 'data = "steered"'],
)  # fmt: skip
async def test_curl_heeds_no_file_of_its_folder(url: str, tmp_path: Path, line: str) -> None:
    expected = await call(tmp_path, "curl", "get", url)
    (tmp_path / ".config").mkdir()
    for name in (".curlrc", "curlrc", "_curlrc", ".config/curlrc"):
        (tmp_path / name).write_text(f"{line}\n")
    (tmp_path / ".netrc").write_text("default login steered password steered\n")
    assert await call(tmp_path, "curl", "get", url) == expected
    with pytest.raises(ToolCallError, match="exit code 1"):
        await call(tmp_path, "curl", "get", "file:///etc/passwd")
    assert not (tmp_path / "written").exists()


async def test_the_command_lines_of_curl() -> None:
    assert await argv("curl", "get", "http://x") == [*FIXED, "-s", "-L", "http://x"]
    assert await argv("curl", "post_json", "http://x", data="@f") == [
        *FIXED, "-s", "-H", "Content-Type: application/json", "-H", "Accept: application/json",
        "--data-raw", "@f", "http://x",
    ]  # fmt: skip


@installed("jq")
async def test_jq_reads_what_it_is_given(tmp_path: Path) -> None:
    data = '{"a": [{"n": "x"}, {"n": "ü"}]}'
    assert await call(tmp_path, "jq", "query", ".a", data) == '[{"n":"x"},{"n":"ü"}]\n'
    assert await call(tmp_path, "jq", "query", filter=".a[].n", input=data) == '"x"\n"ü"\n'
    assert await call(tmp_path, "jq", "strings", ".a[].n", data.encode()) == "x\nü\n"
    assert await call(tmp_path, "jq", None, "add", "1 2", slurp=True) == "3\n"
    assert await call(tmp_path, "jq", None, "length", "ab", raw_input=True) == "2\n"
    large = json.dumps(["x" * 300_000])
    assert await call(tmp_path, "jq", "query", ".[0] | length", large) == "300000\n"


@installed("jq")
async def test_jq_tells_why_it_failed(tmp_path: Path) -> None:
    with pytest.raises(
        ToolCallError, match=r"tools\.jq\.query failed with exit code \d: parse error"
    ):
        await call(tmp_path, "jq", "query", ".", "{")
    with pytest.raises(ToolCallError, match="exit code 3"):
        await call(tmp_path, "jq", "query", ".a |", "{}")
    with pytest.raises(InvalidArgumentError, match="refuses a 'filter' that begins with '-'"):
        await call(tmp_path, "jq", "query", "--version", "{}")
    with pytest.raises(InvalidArgumentError, match="needs 'input'"):
        await call(tmp_path, "jq", "query", ".a")


@installed("jq")
async def test_jq_finds_little_in_its_environment(tmp_path: Path) -> None:
    found = json.loads(await call(tmp_path, "jq", "query", "env | keys", "null"))
    assert found == ["HOME", "LANG", "PATH", "TZ"]


@installed("jq")
@pytest.mark.parametrize("path", [".jq", ".jq/steered.jq"])
async def test_jq_heeds_no_file_of_its_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text('def length: "steered"; def steered: "steered";')
    assert await call(tmp_path, "jq", "query", "length", "[1]") == "1\n"
    for text in ("steered", 'include "steered"; steered'):
        with pytest.raises(ToolCallError, match=r"exit code [23]"):
            await call(tmp_path, "jq", "query", text, "[1]")


async def test_the_command_lines_of_jq() -> None:
    assert await argv("jq", "query", ".a", "{}") == ["-c", ".a"]


async def test_the_command_lines_of_nmap() -> None:
    fixed = ["-sT", "-Pn", "--unprivileged", "--datadir", "/usr/share/nmap"]
    assert await argv("nmap", "scan", "10.0.0.1", ports="22,80-90") == [
        *fixed, "-p", "22,80-90", "10.0.0.1",
    ]  # fmt: skip
    assert await argv("nmap", "quick", "example.org") == [*fixed, "-F", "example.org"]
    assert await argv("nmap", "services", "example.org", ports="80") == [
        *fixed, "-p", "80", "-sV", "example.org",
    ]  # fmt: skip
    assert example("nmap").definition.timeout_s == 300
    for kwargs in (
        {"ports": "-p"},
        {"ports": "80 -iL /etc/passwd"},
        {"ports": "80", "target": "-iL"},
    ):
        with pytest.raises(InvalidArgumentError):
            await argv("nmap", "scan", **{"target": "10.0.0.1", **kwargs})


@installed("nmap")
async def test_nmap_finds_an_open_port_without_privileges(url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        shut = other.getsockname()[1]
    port = url.rpartition(":")[2]
    text = await call(tmp_path, "nmap", "scan", "127.0.0.1", ports=f"{port},{shut}")
    assert f"{port}/tcp open" in text
    assert f"{shut}/tcp closed" in text
    assert f"{port}/tcp open" in await call(tmp_path, "nmap", "services", "127.0.0.1", ports=port)
    assert "Nmap done" in await call(tmp_path, "nmap", "quick", "127.0.0.1")


@installed("nmap")
@pytest.mark.parametrize("place", [".", ".nmap"])
async def test_nmap_heeds_no_file_of_its_folder(url: str, tmp_path: Path, place: str) -> None:
    port = url.rpartition(":")[2]
    data = tmp_path / place
    for folder in ("scripts", "nselib"):
        (data / folder).mkdir(parents=True)
    (data / "nmap-services").write_text(f"steered {port}/tcp 1.0\n")
    (data / "nmap-service-probes").write_text(
        "Probe TCP Steered q|GET / HTTP/1.0\\r\\n\\r\\n|\n"
        f"ports {port}\nmatch steered m|^HTTP| p/steered/\n"
    )
    steered = "io.open('ran', 'w'):close()\n"
    for name in ("nse_main.lua", "nselib/stdnse.lua", "openssl.lua", "scripts/script.db"):
        (data / name).write_text(steered)
    text = await call(tmp_path, "nmap", "services", "127.0.0.1", ports=port)
    assert f"{port}/tcp open" in text
    assert "steered" not in text
    assert not (tmp_path / "ran").exists()


def test_the_example_skill_summarises_what_its_tool_fetched() -> None:
    file = EXAMPLES / "skills" / "analyze_repo.py"
    read = read_skill(file.read_text())
    assert (read.problem, [each["name"] for each in read.parameters]) == (None, ["repo"])
    asked: list[str] = []

    def curl(url: str) -> str:
        asked.append(url)
        return json.dumps({"full_name": "a/b", "stargazers_count": 3, "language": "C", "x": 1})

    run = runpy.run_path(str(file), init_globals={"tools": SimpleNamespace(curl=curl)})["run"]
    assert run("a/b") == {
        "name": "a/b", "description": None, "stars": 3, "forks": None, "language": "C",
    }  # fmt: skip
    assert asked == ["https://api.github.com/repos/a/b"]
    assert run("nothing") == {"error": "repo must be in 'owner/repo' format"}
