"""Executes the examples of README.md and docs/, so that they stay true.

A file is read top to bottom, in an empty folder of its own:

- ``python`` blocks share one namespace; top-level ``await`` works.
- ``console`` and ``bash`` blocks: each ``$ `` line is run by a bash of its own, with this
  environment's commands first on the path, and must exit 0, or N when it ends in ``# exit N``.
  Lines that start with ``> `` continue it. Other lines are the output, ``...`` being anything.
- ``<!-- file: PATH -->`` before a block writes the block to PATH.
- ``<!-- not run: REASON -->`` before a block skips it.

Blocks in other languages are only read.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND_TIMEOUT_S = 120

FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<language>[\w+-]*)")
DIRECTIVE = re.compile(r"\s*<!--\s*(?P<name>not run|file)\b:?\s*(?P<value>.*?)\s*-->\s*")
EXIT_CODE = re.compile(r"\s#\s*exit (?P<code>\d+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is that of its first line of text, counted from 1."""

    page: Path
    line: int
    language: str
    text: str
    directive: str = ""
    value: str = ""

    @property
    def place(self) -> str:
        """Where to look, as editors print it."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A ``$ `` line with what the page promises of it."""

    line: int
    text: str
    exit_code: int
    output: str


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_work(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    execute(page)


def test_every_local_link_leads_somewhere() -> None:
    link = re.compile(r"\]\((?!\w+:|#)(?P<target>[^)#\s]+)[^)]*\)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in (*ROOT.glob("*.md"), *PAGES)
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not leads_somewhere(page.parent / target)
    ]
    assert not broken, "\n  ".join(["write the page or correct the link", *broken])


WRONG = {
    "assertion": "```python\nassert 1 == 2\n```",
    "awaited name": "```python\nx = 1\n```\n\n```python\nawait missing\n```",
    "exit code": "```console\n$ false\n```",
    "exit code that did not come": "```console\n$ true  # exit 1\n```",
    "output": "```console\n$ echo three\nfour\n```",
    "no prompt": "```bash\necho unmarked\n```",
    "no reason": "<!-- not run: -->\n```python\nassert True\n```",
    "not closed": "```python\nassert True\n",
    "file outside": "<!-- file: ../outside -->\n```text\n```",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_example_fails(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((AssertionError, NameError)):
        execute(page)


def test_a_right_example_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        dedent("""
            <!-- file: notes/a.txt -->
            ```text
            one
            two
            ```

            - In a list:

              ```console
              $ cat notes/a.txt
              one
              ...
              $ cat <<'END'
              > three
              > END
              three
              $ cat missing  # exit 1
              cat: missing: ...
              ```

            ```python
            import asyncio
            x = await asyncio.sleep(0, "slept")
            ```

            <!-- not run: it only shows the shape -->
            ```python
            1 / 0
            ```

            ```python
            assert x == "slept"
            ```
        """)
    )
    monkeypatch.chdir(tmp_path)
    execute(page)


def execute(page: Path) -> None:
    """Executes the blocks of a page in the current folder."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in blocks(page):
            if block.directive == "not run":
                assert block.value, f"{block.place}: say why: <!-- not run: reason -->"
            elif block.directive == "file":
                write_file(block)
            elif block.language == "python":
                run_python(block, namespace, runner)
            elif block.language in {"console", "bash", "sh", "shell"}:
                run_commands(block)


def blocks(page: Path) -> Iterator[Block]:
    """Yields the fenced blocks of a page, each with the comment that stands right before it."""
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    directive = value = ""
    for number, line in lines:
        if fence := FENCE.match(line):
            text = []
            for _, inner in lines:
                if inner.strip().startswith(fence["ticks"]):
                    break
                text.append(inner.removeprefix(fence["indent"]))
            else:
                raise AssertionError(f"{page}:{number}: the block is never closed")
            body = "\n".join(text) + "\n"
            yield Block(page, number + 1, fence["language"], body, directive, value)
            directive = value = ""
        elif found := DIRECTIVE.fullmatch(line):
            directive, value = found["name"], found["value"]
        elif line.strip():
            directive = value = ""


def leads_somewhere(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def write_file(block: Block) -> None:
    path = Path(block.value)
    inside = block.value and not path.is_absolute() and ".." not in path.parts
    assert inside, f"{block.place}: name a path below the folder: <!-- file: PATH -->"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")


def run_python(block: Block, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    """Runs a block; a traceback shows the lines of the page itself."""
    padded = "\n" * (block.line - 1) + block.text
    code = compile(padded, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        runner.run(result)


def run_commands(block: Block) -> None:
    found = list(commands(block))
    assert found, f"{block.place}: start commands with '$ ', or mark the block not run"
    for command in found:
        run_command(f"{block.page}:{command.line}", command)


def commands(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in pairwise([*starts, len(lines)]):
        text = [lines[start].removeprefix("$ ")]
        rest = lines[start + 1 : end]
        while rest and rest[0].startswith("> "):
            text.append(rest.pop(0).removeprefix("> "))
        expected = EXIT_CODE.search(text[-1])
        yield Command(
            line=block.line + start,
            text="\n".join(text),
            exit_code=int(expected["code"]) if expected else 0,
            output="\n".join(rest),
        )


def run_command(place: str, command: Command) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-c", command.text],
        env=os.environ | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    story = f"{place}: $ {command.text}\n{result.stdout}"
    assert result.returncode == command.exit_code, f"{story}exited with {result.returncode}"
    want, got = tidy(command.output), tidy(result.stdout)
    if want.strip():
        same = doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
        assert same, f"{story}is not what the page shows:\n{want}"


def tidy(output: str) -> str:
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines()) + "\n"
