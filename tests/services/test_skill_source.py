"""Skill source is parsed, never run, and says what it is or what is wrong with it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from py_code_mode.services.skill_source import SkillSource, read_skill

WEATHER = '''"""Tell the weather.

In any city.
"""

LIMIT = 3


def run(
    city: str,
    days: "int" = 1,
    *rest,
    units="metric",
    options: dict[str, int] | None = None,
    **more: float,
):
    """Ask the service.

    Args:
        city (str): Name of the city,
            in its own language.
        days: How many: at most 16.
        options (dict[str: int]): Further ones.
        **more: Whatever else
            there is.

    Returns:
        units: not a parameter
    """
'''


def problem(source: str) -> tuple[str | None, int | None]:
    found = read_skill(source)
    return found.problem, found.line


def test_description_and_parameters_are_read_from_the_source() -> None:
    assert read_skill(WEATHER) == SkillSource(
        description="Tell the weather.\n\nIn any city.",
        parameters=(
            {
                "name": "city",
                "type": "str",
                "required": True,
                "description": "Name of the city, in its own language.",
            },
            {
                "name": "days",
                "type": "'int'",
                "required": False,
                "default": "1",
                "description": "How many: at most 16.",
            },
            {"name": "units", "type": "any", "required": False, "default": "'metric'"},
            {
                "name": "options",
                "type": "dict[str, int] | None",
                "required": False,
                "default": "None",
                "description": "Further ones.",
            },
            {
                "name": "**more",
                "type": "float",
                "required": False,
                "description": "Whatever else there is.",
            },
        ),
    )


def test_without_a_module_docstring_the_first_paragraph_of_run_describes_it() -> None:
    source = 'async def run():\n    """First\n    lines.\n\n    More."""\n'
    assert read_skill(source) == SkillSource(description="First\nlines.")


def test_the_last_definition_of_run_counts_as_in_python() -> None:
    source = "def run(old): pass\ndef run(*, new): pass"
    assert [p["name"] for p in read_skill(source).parameters] == ["new"]


def test_reading_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    act = f"open({str(trace)!r}, 'w')"
    source = f"x = {act}\n@{act}\ndef run(a={act}, b: {act} = 1): pass"
    assert read_skill(source).problem is None
    assert not trace.exists()


@pytest.mark.parametrize(
    ("source", "said", "line"),
    [
        ("def run(:\n    pass", "line 1: invalid syntax: def run(:", 1),
        (
            "def run():\n  x = 1\n y = 2",
            "line 3: unindent does not match any outer indentation level: y = 2",
            3,
        ),
        (
            "\n\ndef run(): \x1b[31m1",
            "line 3: invalid non-printable character U+001B: def run(): 1",
            3,
        ),
        ("x = 1\ny = '\0'", "line 2: the source has a null byte", 2),
        ("def run(): '\ud800'", "the source has half of a surrogate pair, which is no text", None),
        (
            "def run(city, /, days): pass",
            "line 1: run() is called with keywords, so it cannot have positional-only parameters "
            "(city); remove the '/'",
            1,
        ),
        (
            f"def run({','.join(f'a{i}' for i in range(101))}): pass",
            "line 1: run() has more than 100 parameters; take a dict",
            1,
        ),
        (
            "#" * 262_145,
            "the source has 262,145 bytes; at most 262,144 are allowed. "
            "Keep data in an artifact and load it",
            None,
        ),
        (
            "é" * 131_073,
            "the source has 262,146 bytes; at most 262,144 are allowed. "
            "Keep data in an artifact and load it",
            None,
        ),
    ],
)
def test_source_that_cannot_be_a_skill_says_where_and_why(
    source: str, said: str, line: int | None
) -> None:
    assert problem(source) == (said, line)


@pytest.mark.parametrize(
    "source", ["", "x = 1", "run = print", "class A:\n    def run(self): ...", "from os import run"]
)
def test_a_source_without_run_at_top_level_is_no_skill(source: str) -> None:
    assert problem(source) == (
        "a skill must define a function run(...) at top level, for example: "
        "def run(url: str) -> str: ...",
        None,
    )


TOO_DEEP = "the source is nested too deeply; split the expression or the chain of elif"
TOO_MUCH = (
    "the source has more than 65,536 words and signs, or 2,048 opening braces. "
    "Keep data in an artifact and load it"
)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("(" * 200_000, TOO_MUCH),
        ("-" * 100_000 + "1", TOO_MUCH),
        ("-" * 60_000 + "1", TOO_DEEP),
        ("not " * 60_000 + "1", TOO_DEEP),
        ("1" + "+1" * 30_000, TOO_DEEP),
        ("a" + "()" * 30_000, TOO_DEEP),
        ("lambda:" * 30_000 + "1", TOO_DEEP),
        ("if 1:\n 1\n" + "elif 1:\n 1\n" * 10_000, TOO_DEEP),
        ("f'" + "b" * 200_000 + "{a}" * 16_000 + "'", TOO_MUCH),
        ("a;" * 120_000, TOO_MUCH),
        ("{" * 3_000, TOO_MUCH),
    ],
    ids=lambda value: value[:8],
)
def test_hostile_source_neither_crashes_the_parser_nor_holds_it_for_long(
    source: str, said: str
) -> None:
    start = time.process_time()
    assert problem(source) == (said, None)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "source",
    [
        '"""' + "\n" * 250_000 + 'end"""\ndef run(): pass',
        'def run(x):\n """\n Args:\n' + "  x\n" * 60_000 + '"""',
        'def run(x):\n """' + "\n\t" * 100_000 + 'x"""',
        "\n" * 250_000 + "def run(): pass",
        "a;" * 32_000 + "\ndef run(): pass",
        "f'" + "b" * 200_000 + "{a}" * 2_000 + "'\ndef run(): pass",
        "def run():0\n" * 8_000,
    ],
    ids=["docstring", "args", "tabs", "lines", "statements", "fstring", "definitions"],
)
def test_the_largest_source_that_is_accepted_is_read_in_bounded_time(source: str) -> None:
    start = time.process_time()
    assert read_skill(source).problem is None
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("parameter", "shown"),
    [
        (f"a: {'int | ' * 40}str = 1", {"type": "int | " * 33 + "i…", "default": "1"}),
        (f"a: {'x|' * 300}x = 1", {"type": "any", "default": "1"}),
        (f"a=0x{'f' * 20_000}", {"type": "any", "default": "..."}),
        (f"a='{'x' * 1000}'", {"type": "any", "default": f"'{'x' * 198}…"}),
        ("a='\\x1b[31m\\ud800'", {"type": "any", "default": r"'\x1b[31m\ud800'"}),
    ],
)
def test_endless_annotations_and_defaults_are_cut(parameter: str, shown: dict[str, Any]) -> None:
    (found,) = read_skill(f"def run({parameter}): pass").parameters
    assert found == {"name": "a", "required": False, **shown}


def test_descriptions_hold_nothing_a_terminal_or_the_wire_would_choke_on() -> None:
    source = (
        '"""Do\\x1b[2J it \\ud800now."""\ndef run(a):\n    """\n    Args:\n        a: b\\x07c"""'
    )
    assert read_skill(source) == SkillSource(
        description="Do it now.",
        parameters=({"name": "a", "type": "any", "required": True, "description": "bc"},),
    )


def test_an_old_escape_in_the_source_is_no_fault_and_no_warning() -> None:
    assert read_skill(r"def run(p='\d'): pass") == SkillSource(
        parameters=({"name": "p", "type": "any", "required": False, "default": r"'\\d'"},)
    )


def test_the_recursion_limit_is_left_alone() -> None:
    before = sys.getrecursionlimit()
    read_skill("a" + ".a" * 30_000)
    assert sys.getrecursionlimit() == before
