"""The command's manners: exit codes, JSON, progress, and no secret in anything it prints."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from redis_server import PASSWORD, RedisSource, free_port

from .conftest import TOOL, Store

SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "p/a+s", "p%2Fa")


def assert_no_secret(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


def test_help_names_the_four_commands(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        store("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for command in ("bootstrap", "list", "pull", "diff"):
        assert command in shown


def test_the_target_is_redis_url_where_it_is_not_given(
    store: Store, source: Path, shared_redis_url: str, redis_prefix: str
) -> None:
    environ = {"REDIS_URL": shared_redis_url}
    chosen = ("--prefix", redis_prefix, "--type", "tools")
    assert store("bootstrap", "--source", source, *chosen, environ=environ).code == 0
    assert store("list", *chosen, environ=environ).out == "one Prints one\ntwo Prints two\n"
    missing = store("list", *chosen)
    assert (missing.code, missing.out) == (2, "")
    assert missing.err == (
        "py-code-mode: give --target, a Redis URL or a folder, or set REDIS_URL\n"
    )


def test_json_has_everything_and_failures_too(
    store: Store, source: Path, tmp_path: Path, shared_redis_url: str, redis_prefix: str
) -> None:
    target = ("--target", shared_redis_url, "--prefix", redis_prefix, "--json")
    filled = store("bootstrap", "--source", source, *target)
    (moved,) = filled.json
    assert moved == {
        "kind": "skills",
        "target": moved["target"],
        "changes": {"added": ["one", "two"], "changed": [], "removed": [], "unchanged": []},
        "dry_run": False,
    }
    assert store("list", *target).json == [
        {"name": name, "description": f"Says {name}.", "origin": "bootstrap"}
        for name in ("one", "two")
    ]
    assert store("pull", "--dest", tmp_path / "p", *target).json == {
        "dest": str(tmp_path / "p"),
        "type": "skills",
        "names": ["one", "two"],
    }
    failed = store("bootstrap", "--source", tmp_path / "absent", *target)
    assert failed.code == 2
    assert failed.json["error"]["code"] == "configuration"
    assert "absent" in failed.json["error"]["message"]


@pytest.mark.parametrize("kind", ["tools", "skills", "deps"])
def test_a_source_with_nothing_in_it_is_an_error(
    store: Store, tmp_path: Path, shared_redis_url: str, redis_prefix: str, kind: str
) -> None:
    (tmp_path / "empty").mkdir()
    target = ("--target", shared_redis_url, "--prefix", redis_prefix, "--type", kind)
    for command in ("bootstrap", "diff"):
        for origin in (tmp_path / "empty", shared_redis_url):
            found = store(command, "--source", origin, *target)
            assert (found.code, found.out) == (1, "")
            assert found.err.startswith(f"py-code-mode: there are no {kind} in ")
    pulled = store("pull", "--dest", tmp_path / "pulled", *target)
    assert (pulled.code, (tmp_path / "pulled").exists()) == (1, False)
    assert store("list", *target).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["list", "--type", "artifacts"], "invalid choice: 'artifacts'"),
        (["list", "--what"], "unrecognized arguments: --what"),
        (["bootstrap"], "give --source, or --type deps with --deps SPEC"),
        (["bootstrap", "--source", "absent"], "there is no absent"),
        (["list", "--prefix", "agent:tools"], "did you mean --type tools?"),
        (["list", "--prefix", "agent:artifacts"], "does not go with --type skills"),
        (["list", "--prefix", "a b"], "has a space"),
        (["diff"], "required: --source"),
        (["pull"], "required: --dest"),
    ],
)
def test_wrong_use_is_exit_code_two(store: Store, arguments: list[str], words: str) -> None:
    refused = store(*arguments, environ={"REDIS_URL": "redis://127.0.0.1:1"})
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err


def test_a_redis_that_is_away_is_one_line_and_exit_code_two(store: Store, source: Path) -> None:
    port = free_port()
    url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"
    away = store("bootstrap", "--source", source, "--target", url)
    assert away.code == 2
    assert away.err == (
        f"py-code-mode: Redis at 127.0.0.1:{port} is not running or not reachable: connection "
        "refused; check host and port\n"
    )


def test_a_folder_that_cannot_be_opened_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    refused = store("bootstrap", "--source", tmp_path, "--target", tmp_path / "b")
    assert refused.code == 2
    assert f"{tmp_path}: Permission denied" in refused.err


def test_a_redis_beyond_loopback_needs_a_password_or_leave(store: Store) -> None:
    refused = store("list", "--target", "redis://192.0.2.1:6379")
    assert refused.code == 2
    assert "has no password in its URL" in refused.err
    assert "ALLOW_INSECURE_REDIS" in refused.err


# Secrets


def test_no_secret_is_printed_whatever_is_wrong(
    store: Store, source: Path, tmp_path: Path, redis_servers: RedisSource
) -> None:
    server = redis_servers.start("--requirepass", PASSWORD)
    encoded = quote(PASSWORD, safe="")
    for secret in (PASSWORD, encoded):
        good = f"redis://:{secret}@127.0.0.1:{server.port}/0"
        bad = f"redis://user:{secret}x@127.0.0.1:{server.port}/0"
        cut = f"rediss://:{secret}"
        pasted = f"name.example:6380,password={secret},ssl=True"
        bare = f":{secret}@127.0.0.1:{server.port}"
        commands: list[Sequence[object]] = [
            ["list", "--target", good],
            ["bootstrap", "--source", source, "--target", good, "--json"],
            ["pull", "--target", good, "--dest", good],
            ["pull", "--target", good, "--dest", pasted],
            *[["list", "--target", wrong] for wrong in (bad, cut, pasted, bare)],
            *[["bootstrap", "--source", wrong, "--target", good] for wrong in (bad, cut, bare)],
            ["list", "--target", good, "--prefix", bad],
            ["list", "--target", good, "--prefix", f"{bad}:skills"],
            ["list", "--target", good, bad],
            ["list", "--target", good, f"--what={bad}"],
            ["list", "--target", good, "--type", cut],
            ["list", "--target", f"{good}?ssl={secret}"],
        ]
        for arguments in commands:
            answer = store(*arguments, environ={"REDIS_URL": bad})
            assert_no_secret(answer.out)
            assert_no_secret(answer.err)
            assert "Traceback" not in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["servers", "source"]
    assert_no_secret(str([*Path().iterdir()]))


def test_no_other_process_is_started(source: Path, shared_redis_url: str) -> None:
    code = (
        "import sys\n"
        "def heard(event, arguments):\n"
        "    if event.startswith(('subprocess.', 'os.exec', 'os.fork', 'os.posix_spawn')):\n"
        "        print(event, arguments)\n"
        "sys.addaudithook(heard)\n"
        "from py_code_mode.cli.store import main\n"
        "sys.exit(main())\n"
    )
    arguments = ["bootstrap", "--source", str(source), "--target", shared_redis_url, "--dry-run"]
    for kind in ("tools", "skills", "deps"):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--type", kind, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("[{")


# Terminals


def test_progress_is_shown_on_a_terminal_alone(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"t{number}.yaml").write_text(TOOL.format(name=f"t{number}"))
    command = [
        *(sys.executable, "-m", "py_code_mode.store", "bootstrap", "--dry-run", "--source"),
        *(str(tmp_path), "--target", str(tmp_path / "base"), "--type", "tools"),
    ]
    piped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout
    master, slave = pty.openpty()
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=slave, check=True, timeout=30)
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert "\rchecking tools 10/25" in shown
    assert "\rchecking tools 25/25" in shown
    assert shown.endswith("\r\x1b[K")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    base = tmp_path / "base" / "tools"
    base.mkdir(parents=True)
    for number in range(3000):
        (base / f"t{number}.yaml").write_text(TOOL.format(name=f"t{number}"))
    line = f"'{sys.executable}' -m py_code_mode.store list --type tools --target '{base}' | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=50)  # noqa: PLW1510 - the exit code is head's
    assert (done.stdout, done.stderr) == ("t0 Prints t0\n", "")
