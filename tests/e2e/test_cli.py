"""The command line, typed as a user would."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from packages.wheels import sdist
from redis_server import redis_prefix, shared_redis_url

__all__ = ["redis_prefix", "shared_redis_url"]

COMMAND = [str(Path(sys.executable).parent / "py-code-mode")]


def cli(*args: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_run_prints_output_and_value_and_exits_0(tmp_path: Path) -> None:
    done = cli("run", "-c", "print('hello')\n6 * 7", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n42\n", "")


def test_run_takes_a_file_or_standard_input(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("'from a file'")
    assert cli("run", "code.py", cwd=tmp_path).stdout == "from a file\n"
    assert cli("run", "-", cwd=tmp_path, stdin="'piped'").stdout == "piped\n"


@pytest.mark.parametrize(
    "source", ["\ufeff'grün'".encode(), "# coding: latin-1\r\n'grün'\r\n".encode("latin-1")]
)
def test_run_reads_a_file_as_python_does(tmp_path: Path, source: bytes) -> None:
    (tmp_path / "code.py").write_bytes(source)
    assert cli("run", "code.py", cwd=tmp_path).stdout == "grün\n"


def test_failing_code_exits_1_with_its_traceback(tmp_path: Path) -> None:
    done = cli("run", "-c", "1/0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_json_gives_the_whole_result(tmp_path: Path) -> None:
    done = cli("run", "--json", "--timeout", "0.5", "-c", "while True: pass", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert (result["error_type"], result["is_ok"], result["state"]["lost"]) == (
        "ExecutionTimeoutError",
        False,
        False,
    )


def test_wrong_use_exits_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    for args in (
        ["run"],
        ["run", "missing.py"],
        ["run", "-c", "1", "x.py"],
        ["run", "-c", "1", "--timeout", "999"],
        ["run", "-c", "1", "--timeout", "nan"],
        ["run", "-c", "1", "--base", "x", "--redis", "redis://127.0.0.1"],
        ["run", "-c", "1", "--base", ""],
        ["run", "-c", "1", "--redis", "-"],
    ):
        done = cli(*args, cwd=tmp_path)
        assert done.returncode == 2, (args, done)
        assert done.stderr
        assert "not running" not in done.stderr


def test_skills_of_a_folder_are_there(tmp_path: Path) -> None:
    (tmp_path / "base" / "skills").mkdir(parents=True)
    (tmp_path / "base" / "skills" / "hi.py").write_text('"""Hi."""\ndef run(): return "hi"')
    done = cli("run", "--base", "base", "-c", "skills.hi()", cwd=tmp_path)
    assert done.stdout == "hi\n"


def test_tools_of_a_folder_get_the_variables_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".code-mode" / "tools").mkdir(parents=True)
    (tmp_path / ".code-mode" / "tools" / "env.yaml").write_text(
        'name: show\ndescription: Show\ncommand: env\nenv: {KEY: "${TOOL_KEY}"}\noutput: lines\n'
    )
    monkeypatch.setenv("TOOL_KEY", "for tools")
    monkeypatch.setenv("SERVER_KEY", "not for tools")
    done = cli("run", "-c", "tools.show()", cwd=tmp_path)
    assert "KEY=for tools" in done.stdout
    assert "SERVER_KEY" not in done.stdout + done.stderr


def test_packages_without_a_wheel_are_built_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of their own, as what was built once is found again by whoever asks for it.
    first, second = (f"src{secrets.token_hex(6)}" for _ in range(2))
    for name in (first, second):
        sdist(tmp_path, name, attempt="REPORT = 1")
    for name, value in {"FIND_LINKS": str(tmp_path), "NO_INDEX": "1", "OFFLINE": "1"}.items():
        monkeypatch.setenv(f"UV_{name}", value)
    add_first = ("run", "-c", f"deps.add({first!r})", "--base")
    refused = cli(*add_first, "a", cwd=tmp_path)
    assert (refused.returncode, "DEPS_ALLOW_BUILD" in refused.stderr) == (1, True)
    assert cli(*add_first, "b", "--allow-build", cwd=tmp_path).stdout == f"[{first!r}]\n"
    monkeypatch.setenv("DEPS_ALLOW_BUILD", "true")
    add_second = ("run", "-c", f"deps.add({second!r})", "--base", "c")
    assert cli(*add_second, cwd=tmp_path).stdout == f"[{second!r}]\n"
    monkeypatch.setenv("DEPS_ALLOW_BUILD", "perhaps")
    wrong = cli("run", "-c", "1", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr == "py-code-mode: DEPS_ALLOW_BUILD must be true or false, not 'perhaps'\n"


def test_a_redis_is_named_by_the_environment(
    shared_redis_url: str, redis_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", shared_redis_url)
    redis = ("run", "--redis", "-", "--prefix", redis_prefix)
    assert cli(*redis, "-c", "x = artifacts.save('a', [1])", cwd=tmp_path).returncode == 0
    assert cli(*redis, "-c", "artifacts.load('a')", cwd=tmp_path).stdout == "[1]\n"
    monkeypatch.delenv("REDIS_URL")
    done = cli(*redis, "-c", "1", cwd=tmp_path)
    assert (done.returncode, "REDIS_URL" in done.stderr) == (2, True)


@pytest.mark.parametrize("storage", ["files", "redis"])
def test_the_demo_shows_every_step_and_writes_the_chart(storage: str, tmp_path: Path) -> None:
    done = cli("demo", "--output", "out", "--storage", storage, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for shown in ('"day": "mon"', "\n7\n", "prices-of-this-week"):
        assert shown in done.stdout
    assert "every step ended as it must" in done.stdout
    assert (tmp_path / "out" / "chart.png").read_bytes().startswith(b"\x89PNG")
