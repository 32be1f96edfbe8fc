"""The options of ``serve``, what they go before, and where things are without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from packages.wheels import sdist

from .serving import TOKEN, Place, Server, refused

GOOD = {"CONTAINER_AUTH_TOKEN": TOKEN, "HOST": "127.0.0.1", "PORT": "0"}
DOCKERFILES = sorted((Path(__file__).parents[2] / "examples").glob("**/Dockerfile"))


def told_by(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.splitlines()]


def test_without_a_place_it_keeps_things_in_a_folder_here_and_says_so(own: Place) -> None:
    server = own.make()
    del server.variables["STORAGE_PATH"]
    server.start()
    with server.client() as client:
        assert client.post("/api/artifacts", json={"name": "a", "data": 1}).status_code == 201
    base = server.folder / ".code-mode"
    assert (base / "artifacts" / "a").is_file()
    (told,) = [line for line in told_by(server) if line["level"] == "warning"]
    assert told["event"].startswith("neither REDIS_URL nor STORAGE_PATH is set, so tools, skills, ")
    assert f"kept in {base}, " in told["event"]
    (listening,) = server.log_lines(f"listening on {server.url}")
    assert listening["storage"] == f"files at {base}"


def test_the_options_of_run_and_mcp_are_those_of_serve(
    own: Place, shared_redis_url: str, redis_prefix: str
) -> None:
    wheels = own.folder / "wheels"
    wheels.mkdir()
    sdist(wheels, "sourcepkg", attempt="REPORT = 1")
    server = own.make(
        *("--redis", "-", "--prefix", redis_prefix, "--timeout", "7.5", "--json", "--allow-build"),
        REDIS_URL=shared_redis_url,
        LOG_FORMAT="text",
        DEPS_ALLOW_BUILD="false",
        ALLOW_RUNTIME_DEPS="true",
        UV_FIND_LINKS=str(wheels),
        UV_OFFLINE="1",
        UV_NO_INDEX="1",
    ).start()
    (listening,) = server.log_lines(f"listening on {server.url}")
    assert listening["url"] == server.url
    assert listening["storage"].endswith(f"prefix '{redis_prefix}'")
    assert told_by(server)  # every line is an object
    with server.client() as client:
        assert client.get("/info").json()["limits"]["execution_timeout_s"] == 7.5
        assert client.post("/api/deps/add", json={"package": "sourcepkg"}).json() == ["sourcepkg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--base", "x", "--redis", "y"), "argument --redis: not allowed with argument --base"),
        (("--base", ""), "--base needs the name of a folder"),
        (("--redis", "-"), "--redis - needs the variable REDIS_URL"),
        (("--timeout", "0"), "argument --timeout: invalid number of seconds value: '0'"),
    ],
)
def test_options_that_cannot_work_are_told(arguments: tuple[str, ...], words: str) -> None:
    end = refused(GOOD, *arguments)
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr.splitlines()[-1] == f"py-code-mode serve: error: {words}"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_that_gets_no_redis_uses_no_folder_of_the_container(path: Path) -> None:
    sets = path.read_text().rpartition("\nENV ")[2].partition("\nWORKDIR")[0]
    variables = dict(pair.split("=", 1) for pair in sets.replace("\\\n", " ").split())
    assert variables["LOG_FORMAT"] == "json"
    end = refused({**GOOD, "STORAGE_PATH": variables["STORAGE_PATH"]})
    assert (end.returncode, end.stderr) == (
        2,
        "py-code-mode serve: set one of REDIS_URL and STORAGE_PATH, and one only\n",
    )
