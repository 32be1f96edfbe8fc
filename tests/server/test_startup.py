"""How the server starts, when it refuses to, and that no secret is anywhere after it has."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path

import pytest

from redis_server import PASSWORD, RedisSource, free_port

from . import serving
from .conftest import fill, fill_redis
from .serving import PRIVATE, TOKEN, WITHOUT, Place, Server, eventually, hidden, is_alive, refused

UNSEEN = [] if os.geteuid() == 0 else [PermissionError]
GOOD = {"CONTAINER_AUTH_TOKEN": TOKEN, "HOST": "127.0.0.1", "PORT": "0"}


def said(variables: dict[str, str], *arguments: str) -> str:
    """Return the one line of a server that refuses to start."""
    end = refused(variables, *arguments)
    assert (end.returncode, end.stdout) == (2, ""), end
    line = end.stderr.removesuffix("\n")
    assert "\n" not in line, end.stderr
    assert line.startswith("py-code-mode serve: ")
    return line


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "CONTAINER_AUTH_TOKEN is not set"),
        ("", "CONTAINER_AUTH_TOKEN must have a token"),
        (" , ,", "CONTAINER_AUTH_TOKEN must have a token"),
        ("short-secret", "CONTAINER_AUTH_TOKEN has a token of less than 16 characters"),
        (f"{TOKEN},short-secret", "less than 16 characters"),
        (f"{TOKEN} {TOKEN}", "printable ASCII without spaces"),
        (f"{TOKEN}é", "printable ASCII"),
    ],
)
def test_without_a_good_token_it_refuses_to_start(
    tmp_path: Path, token: str | None, words: str
) -> None:
    variables = {**GOOD, "STORAGE_PATH": str(tmp_path / "s")}
    if token is None:
        del variables["CONTAINER_AUTH_TOKEN"]
    else:
        variables["CONTAINER_AUTH_TOKEN"] = token
    line = said(variables)
    assert words in line
    assert "openssl rand" in line or "characters" in line or "ASCII" in line
    assert "secret" not in line
    assert TOKEN not in line
    assert not (tmp_path / "s").exists()


def test_every_bad_setting_is_told_at_once_by_name_and_no_secret(tmp_path: Path) -> None:
    bad = {
        "PORT": "99999",
        "MAX_SESSIONS": "0",
        "MAX_QUEUE": "many",
        "EXECUTION_TIMEOUT": "-1",
        "ALLOW_RUNTIME_DEPS": "perhaps",
        "LOG_FORMAT": "xml",
        "SANDBOX": "maybe",
        "SESSION_MEMORY_MB": "1",
        "MIN_SANDBOX_TIER": "Z",
        "REDIS_URL": "http://:s3cretpassword@h",
        "CONTAINER_AUTH_TOKEN": "s3crettoken",
        "DEPS_ALLOW_BUILD": "perhaps",
        "DRAIN_TIMEOUT": "inf",
        "SESSION_IDLE_TIMEOUT": "1e300",
        "EMBEDDINGS_FALLBACK": "no",
        "EGRESS_ALLOW": "no-port",
        "EMBEDDINGS": "none-such",
        "REDIS_PREFIX": "a:tools",
        "CONFIG_PATH": "/none-such",
        "WORK_DIR": "/dev/null/w",
        "PRELOAD": "os, not a module",
        "HOST": "",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h",
        "OTEL_TRACES_EXPORTER": "otlp",
    }
    line = said(bad)
    assert [name for name in bad if name not in line] == []
    assert "one only" not in line  # a bad REDIS_URL is one
    disabled = said({**bad, "OTEL_SDK_DISABLED": "true"})
    assert "OTEL" not in disabled
    assert "s3cret" not in line


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"STORAGE_PATH": ""}, "set one of REDIS_URL and STORAGE_PATH"),
        ({"REDIS_URL": ""}, "set one of REDIS_URL and STORAGE_PATH"),
        ({"STORAGE_PATH": "/s", "REDIS_URL": "redis://127.0.0.1"}, "one only"),
        ({"STORAGE_PATH": "/s", "EXECUTION_TIMEOUT": "500"}, "MAX_EXECUTION_TIMEOUT"),
        ({"STORAGE_PATH": "/s", "SANDBOX": "off"}, "MIN_SANDBOX_TIER=none"),
        (
            {
                "STORAGE_PATH": "/s",
                "SANDBOX": "off",
                "MIN_SANDBOX_TIER": "none",
                "DEPS_ALLOW_BUILD": "true",
            },
            "DEPS_ALLOW_BUILD needs the sandbox",
        ),
        ({"STORAGE_PATH": "/s", "ARTIFACTS_PATH": "/a"}, "ARTIFACTS_PATH goes with REDIS_URL"),
        ({"STORAGE_PATH": "/dev/null/s"}, "/dev/null"),
        ({"STORAGE_PATH": "/s", "EMBEDDINGS": "openai:nothing"}, "EMBEDDINGS"),
        ({"REDIS_URL": "redis://192.0.2.1:6379"}, "has no password"),
        ({"REDIS_URL": "redis://:p%2Fw@h:99999999"}, "cannot be read"),
        ({"STORAGE_PATH": "/s", "HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
        ({"STORAGE_PATH": "/s", "HOST": "no such host"}, "cannot listen on no such host"),
        ({"STORAGE_PATH": "/s", "HOST": "\u2603" * 80}, "cannot listen on"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    given = {
        name: str(tmp_path) + value if value in {"/s", "/a"} else value
        for name, value in variables.items()
    }
    line = said({**GOOD, **given})
    assert words in line
    assert "p%2Fw" not in line


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = said({**GOOD, "STORAGE_PATH": str(tmp_path / "s"), "PORT": port})
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; set HOST and PORT" in line


def test_a_redis_that_is_away_at_start_is_one_line_without_its_password() -> None:
    port = free_port()
    line = said({**GOOD, "REDIS_URL": f"redis://:s3cret%2F@127.0.0.1:{port}/0"})
    assert f"127.0.0.1:{port}" in line
    assert "s3cret" not in line


def test_options_go_before_the_environment(own: Place) -> None:
    base = own.folder / "elsewhere"
    fill(base)
    server = own.start(
        "--base",
        str(base),
        "--timeout",
        "7",
        REDIS_URL="redis://127.0.0.1:1",
        EXECUTION_TIMEOUT="9",
    )
    with server.client() as client:
        info = client.get("/info").json()
    assert info["limits"]["execution_timeout_s"] == 7
    assert "echo" in [tool["name"] for tool in info["tools"]]


LOOK_AROUND = """
import os, pathlib
found = []
for path in pathlib.Path('/proc').glob('[0-9]*'):
    for name in ('environ', 'cmdline', 'maps'):
        try:
            text = (path / name).read_bytes()
        except OSError:
            continue
        if b'a-token-of' in text or b'p/a+s' in text or b'p%2Fa' in text:
            found.append(str(path / name))
(found, dict(os.environ))
"""


def test_no_secret_is_in_any_process_log_error_worker_or_tool(
    own: Place, redis_servers: RedisSource
) -> None:
    """The token and the URL are in the server's memory, and nowhere else."""
    redis = redis_servers.start("--requirepass", PASSWORD)
    redis.password = PASSWORD
    fill_redis(redis)
    server = own.start(REDIS_URL=redis.url)
    secrets = [TOKEN, redis.url, PASSWORD, "p%2Fa%2Bs"]
    with server.client() as client:
        seen, environ = client.value(LOOK_AROUND)
        tool = client.value("tools.env()")
        errors = client.post("/execute", content=b"{").text + client.get("/nothing").text
        info = client.get("/info").text + client.get("/metrics").text + client.get("/ready").text
        listings = client.get("/openapi.json").text
        everything = _processes(server)
        redis.stop()
        eventually(lambda: client.get("/ready").status_code == 503)
        errors += client.get("/ready").text + client.get("/api/skills").text
    assert seen == []
    texts = [json.dumps(environ), tool, errors, info, listings, everything, server.log]
    assert [(s, t[:200]) for s in secrets for t in texts if s in t] == []
    assert not {"CONTAINER_AUTH_TOKEN", "REDIS_URL"} & environ.keys()


def _processes(server: Server) -> str:
    """Return command line and environment of every process, as root sees them."""
    found = ""
    family = server.processes()
    assert len(family) >= 3  # the server, its zygote, a worker
    for pid in family:
        for name in ("cmdline", "environ"):
            # It has ended; or it is hidden from all but root.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, *UNSEEN):
                found += Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    assert "CONTAINER_AUTH_TOKEN" not in found
    assert "REDIS_URL" not in found
    return found


def test_nobody_of_its_uid_can_look_into_a_process_of_ours(
    own: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:  # what has more capabilities than who looks is hidden anyway
        first = tmp_path / "first"
        first.write_text(f'#!/bin/sh\nexec {" ".join(WITHOUT)} {serving.COMMAND} "$@"\n')
        first.chmod(0o755)
        monkeypatch.setattr(serving, "COMMAND", first)
    server = own.start()
    with server.client() as client:
        client.run("x = 1")
        family = server.processes()
        assert len(family) >= 3
        shown = {(pid, name) for pid in family for name in PRIVATE if not hidden(pid, name)}
        assert not [(pid, name) for pid, name in shown if is_alive(pid)]


def test_the_module_of_an_operators_folder_is_not_taken_for_ours(own: Place) -> None:
    for name in ("json.py", "asyncio.py", "uvicorn.py"):
        (own.folder / name).write_text("raise SystemExit('not ours')")
    server = own.start()
    assert "not ours" not in server.log


def test_it_ends_with_nothing_left(own: Place) -> None:
    server = own.start()
    with server.client() as client:
        client.run("x = 1")
    family = server.processes()
    assert server.stop() == 0
    eventually(lambda: not any(map(is_alive, family)))
    assert [name for name in os.listdir(server.work) if "sessions" in name] == []


def test_a_relative_work_folder_is_below_the_servers(own: Place) -> None:
    server = own.start(WORK_DIR="relative")
    with server.client() as client:
        assert client.value("1 + 1") == 2
    assert any((own.folder / "relative").iterdir())
