"""``py-code-mode tools check`` says what is wrong, where, and by its exit code whether."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from py_code_mode.cli.main import app

GOOD = "name: say\ndescription: Say it\ncommand: /bin/echo\nrecipes: {hello: {}, bye: {}}\n"
BAD = "name: bad\ndescription: x\ncommand: x\ntimeout: x\nport: 1\n"


def check(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["tools", "check", str(folder), *options])


def test_good_files_are_listed_with_their_recipes(tmp_path: Path) -> None:
    (tmp_path / "say.yaml").write_text(GOOD)
    (tmp_path / "README.md").write_text("not a tool")
    (tmp_path / ".hidden.yaml").write_text("not a tool")
    result = check(tmp_path)
    assert (result.exit_code, result.stdout) == (0, "say.yaml: ok: say: hello, bye\n")


def test_what_is_missing_on_this_machine_is_a_note_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "name: x\ndescription: x\ncommand: no-such-program\nenv: {A: '${TOOL_NOT_SET}'}\n"
    )
    result = check(tmp_path)
    assert (result.exit_code, result.stdout) == (
        0,
        "x.yaml: ok: x: no recipes; no-such-program is not installed here; "
        "TOOL_NOT_SET is not set here\n",
    )


def test_every_problem_is_told_with_file_and_line_and_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD)
    (tmp_path / "b.yml").write_bytes(b"name: caf\xe9\n")
    (tmp_path / "c.yaml").symlink_to(tmp_path / "a.yaml")
    (tmp_path / "say.yaml").write_text(GOOD)
    (tmp_path / "say.yml").write_text(GOOD)
    (tmp_path / "too.yaml").write_text(GOOD)
    result = check(tmp_path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "a.yaml:4: 'timeout' must be a number, not text",
        "a.yaml:5: unknown key 'port'; did you mean 'ports'?",
        "b.yml:1: 'utf-8' codec can't decode byte 0xe9 in position 9: invalid continuation byte",
        "c.yaml:1: not a regular file; sessions do not follow links",
        "say.yaml: ok: say: hello, bye",
        "say.yml:1: say.yaml is beside it, and sessions read that one alone",
        "too.yaml:1: the name 'say' is taken by say.yaml",
    ]


def test_json_has_everything(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD.replace("port: 1\n", ""))
    (tmp_path / "say.yaml").write_text(GOOD)
    result = check(tmp_path, "--json")
    assert result.exit_code == 1
    bad, good = json.loads(result.stdout)
    assert bad == {
        "file": "a.yaml",
        "name": None,
        "command": None,
        "installed": None,
        "callables": [],
        "problems": [{"line": 4, "reason": "'timeout' must be a number, not text"}],
        "notes": [],
    }
    assert good == {
        "file": "say.yaml",
        "name": "say",
        "command": "/bin/echo",
        "installed": "/bin/echo",
        "callables": ["hello", "bye"],
        "problems": [],
        "notes": [],
    }


def test_nothing_to_check_is_a_failure(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.exit_code == 1
    assert result.stderr == f"py-code-mode: {tmp_path} has no *.yaml or *.yml file\n"


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_wrong_use(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    assert check(tmp_path / name).exit_code == 2


def test_on_a_terminal_it_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "say.yaml").write_text(GOOD)
    (tmp_path / "a.yaml").write_text(BAD)
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("py-code-mode")), "tools", "check", str(tmp_path)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    done = subprocess.run(command, stdout=theirs, env=environment, check=False)
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 1
    for piece in ("file", "recipes", "say.yaml", "/bin/echo", "hello, bye", "line 4: 'timeout'"):
        assert piece in text
