"""Arguments are checked, and become entries of a command line that no value breaks out of."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import InvalidArgumentError
from py_code_mode.tools.argv import CommandLine, command_line
from py_code_mode.tools.definition import ToolDefinition
from py_code_mode.tools.loading import load_definition

TOOL = """\
name: tool
description: Everything a schema can say
command: tool
args: [sub, --fixed]
schema:
  options:
    flag: {type: boolean, short: f}
    quiet: {type: boolean, default: true}
    word: {type: string, short: w}
    long_word: {type: string}
    other: {type: string, long: an.other}
    count: {type: integer, short: c, minimum: -5, maximum: 9}
    ratio: {type: number}
    item: {type: array, short: I}
    level: {type: string, choices: [low, high]}
    code: {type: string, pattern: "[a-z]{2}|x"}
    size: {type: integer, default: 7}
  positional:
    - {name: first, type: string, required: true}
    - {name: second, type: integer}
    - {name: rest, type: array}
  stdin: {name: text}
recipes:
  preset: {preset: {word: given, size: 1, item: [a]}, params: {first: {}, word: {}}}
  fixed: {preset: {first: a, flag: true, quiet: false}, params: {}}
  whole: {preset: {word: given}}
"""


def load(text: str) -> ToolDefinition:
    return load_definition(text, file="tool.yaml")


DEFINITION = load(TOOL)
DASHED = load(TOOL + "end_of_options: true\n")


def line(*args: Any, **kwargs: Any) -> CommandLine:
    return command_line(DEFINITION, DEFINITION.whole, args, kwargs)


def arguments(
    *args: Any, recipe: str = "", tool: ToolDefinition = DEFINITION, **kwargs: Any
) -> Any:
    chosen = tool.recipes[recipe] if recipe else tool.whole
    found = list(command_line(tool, chosen, args, kwargs).arguments)
    assert found[:2] == ["sub", "--fixed"]
    return found[2:]


def refusal(*args: Any, recipe: str = "", **kwargs: Any) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        arguments(*args, recipe=recipe, **kwargs)
    name = f"tools.tool.{recipe}" if recipe else "tools.tool"
    problem, _, usage = caught.value.message.partition(f"; it is called as {name}(")
    assert usage.endswith(" -> str"), caught.value.message
    return problem.removeprefix(f"{name}() ")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["--quiet", "--size", "7", "a"]),
        ({"flag": True}, ["-f", "--quiet", "--size", "7", "a"]),
        ({"flag": False, "quiet": False}, ["--size", "7", "a"]),
        ({"word": "x"}, ["--quiet", "-w", "x", "--size", "7", "a"]),
        ({"word": "-x", "quiet": False}, ["-w", "-x", "--size", "7", "a"]),
        ({"word": "", "quiet": False}, ["-w", "", "--size", "7", "a"]),
        ({"long_word": "x"}, ["--quiet", "--long-word", "x", "--size", "7", "a"]),
        ({"other": "x"}, ["--quiet", "--an.other", "x", "--size", "7", "a"]),
        ({"item": ["x", "-y"]}, ["--quiet", "-I", "x", "-I", "-y", "--size", "7", "a"]),
        ({"item": []}, ["--quiet", "--size", "7", "a"]),
        ({"size": 12}, ["--quiet", "--size", "12", "a"]),
        ({"word": None}, ["--quiet", "--size", "7", "a"]),
        ({"second": 5, "rest": ["x", "y"]}, ["--quiet", "--size", "7", "a", "5", "x", "y"]),
        ({"word": "a\nb; $(c) `d` 'e' *"},
         ["--quiet", "-w", "a\nb; $(c) `d` 'e' *", "--size", "7", "a"]),
    ],
)  # fmt: skip
def test_each_value_is_an_entry_of_its_own_behind_its_flag(
    given: dict[str, Any], expected: list[str]
) -> None:
    assert arguments(first="a", **given) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1"), (-1.5, "-1.5"), (0.1, "0.1"), (1e-7, "0.0000001"), (1e22, f"1{'0' * 22}"),
     (3.0, "3.0")],
)  # fmt: skip
def test_numbers_are_written_exactly_and_without_exponent(number: float, text: str) -> None:
    assert arguments("a", ratio=number, quiet=False) == ["--ratio", text, "--size", "7", "a"]


def test_positionals_and_standard_input_may_be_given_in_order() -> None:
    assert arguments("a", 5, ["x"], quiet=False) == ["--size", "7", "a", "5", "x"]
    assert line("a", 5, ["x"], "read this").stdin == b"read this"
    assert line("a", text="größe").stdin == "größe".encode()
    assert line("a", text=b"\x00\xff").stdin == b"\x00\xff"
    assert line("a").stdin == b""


def test_a_recipe_adds_its_presets() -> None:
    assert arguments("a", recipe="preset") == [
        "--quiet", "-w", "given", "-I", "a", "--size", "1", "a",
    ]  # fmt: skip
    assert arguments("a", word="mine", recipe="preset")[2] == "mine"
    assert arguments(recipe="fixed") == ["-f", "--size", "7", "a"]
    assert arguments("b", size=2, recipe="whole") == [
        "--quiet", "-w", "given", "--size", "2", "b",
    ]  # fmt: skip


REFUSED = [
    ([], {}, "needs 'first' (str), which is missing", "first"),
    (["a"], {"firts": 1}, "has no parameter 'firts'; did you mean 'first'?", "firts"),
    (["a"], {"first": "b"}, "got 'first' twice, by position and by name", "first"),
    (["a", 1, [], "x", "y"], {}, "takes 4 arguments by position, 5 were given", None),
    ([None], {}, "needs str for 'first', not None", "first"),
    ([b"a"], {}, "needs str for 'first', not bytes", "first"),
    (["a"], {"flag": 1}, "needs bool for 'flag', not int", "flag"),
    (["a"], {"size": None}, "needs int for 'size', not None", "size"),
    (["a"], {"count": True}, "needs int for 'count', not bool", "count"),
    (["a"], {"count": 1.0}, "needs int for 'count', not float", "count"),
    (["a"], {"count": "1"}, "needs int for 'count', not str", "count"),
    (["a"], {"count": 10}, "needs at most 9 for 'count', not 10", "count"),
    (["a"], {"count": -6}, "needs at least -5 for 'count', not -6", "count"),
    (["a"], {"size": 10**2000}, "needs a finite number of usual size for 'size'", "size"),
    (["a"], {"ratio": math.nan}, "needs a finite number of usual size for 'ratio'", "ratio"),
    (["a"], {"ratio": True}, "needs float for 'ratio', not bool", "ratio"),
    (["a"], {"item": "x"}, "needs list[str] for 'item', not str", "item"),
    (["a"], {"item": ["x", 1]}, "needs list[str] for 'item', not a list with int", "item"),
    (["a"], {"level": "mid"}, "needs one of 'low', 'high' for 'level', not 'mid'", "level"),
    (["a"], {"code": "abc"}, "needs 'code' to match '[a-z]{2}|x', which 'abc' does not", "code"),
    (["a"], {"code": "ab\n"}, "needs 'code' to match '[a-z]{2}|x', which 'ab\\n' does not", "code"),
    (["a"], {"text": 5}, "needs str | bytes for 'text', not int", "text"),
    (["a\0b"], {}, "got a NUL character in 'first', which no program's argument can have", "first"),
    (["a\ud800"], {}, "got half of a surrogate pair in 'first', which is no text", "first"),
    (["a"], {"text": "\ud800"}, "got half of a surrogate pair in 'text', which is no text", "text"),
    (["--version"], {},
     "refuses a 'first' that begins with '-': the program would take it for an option", "first"),
    (["-"], {},
     "refuses a 'first' that begins with '-': the program would take it for an option", "first"),
    (["a", -1], {},
     "refuses a 'second' that begins with '-': the program would take it for an option", "second"),
    (["a", 1, ["b", "-K"]], {},
     "refuses a 'rest' that begins with '-': the program would take it for an option", "rest"),
    (["a"], {"rest": ["b"]}, "needs 'second' too, where 'rest' is given", None),
    (["x" * 200_000], {},
     "got 200,000 bytes for 'first'; one argument of a program can have 131,071 at most: give it "
     "less, or use standard input if it reads it", "first"),
    (["a"], {"item": ["x" * 100_000] * 11},
     "got arguments of 1,100,299 bytes in all; a program can have 1,048,576 at most: give it less, "
     "or use standard input if it reads it", None),
]  # fmt: skip


@pytest.mark.parametrize(("args", "kwargs", "problem", "parameter"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(
    args: list[Any], kwargs: dict[str, Any], problem: str, parameter: str | None
) -> None:
    assert refusal(*args, **kwargs) == problem
    with pytest.raises(InvalidArgumentError) as caught:
        arguments(*args, **kwargs)
    assert caught.value.fields == ({} if parameter is None else {"parameter": parameter})


def test_a_recipe_takes_its_params_alone() -> None:
    assert (
        refusal("a", recipe="preset", size=2) == "sets 'size' itself, and callers cannot change it"
    )
    assert (
        refusal("a", recipe="preset", flag=True)
        == "has no parameter 'flag'; there are: word, first"
    )
    assert refusal("b", recipe="fixed") == "takes no arguments by position, 1 were given"
    assert (
        refusal("b", recipe="whole", word="x") == "sets 'word' itself, and callers cannot change it"
    )


def test_the_usage_is_told_with_the_problem() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        arguments(recipe="preset")
    assert caught.value.message == (
        "tools.tool.preset() needs 'first' (str), which is missing; it is called as "
        "tools.tool.preset(first: str, *, word: str = 'given') -> str"
    )


def test_a_hostile_name_is_cut_and_escaped() -> None:
    hostile: dict[str, Any] = {"\x1b[2J" + "x" * 100_000: 1}
    problem = refusal("a", **hostile)
    assert len(problem) < 400
    assert "\x1b" not in problem


def test_behind_the_end_of_options_anything_is_a_positional() -> None:
    assert arguments("--version", quiet=False, tool=DASHED) == ["--size", "7", "--", "--version"]
    only = load("name: x\ndescription: x\ncommand: x\nend_of_options: true\n"
                "schema: {positional: [{name: p}]}\n")  # fmt: skip
    assert command_line(only, only.whole, [], {}).arguments == ()


def test_a_positional_that_is_required_needs_an_item() -> None:
    tool = load("name: x\ndescription: x\ncommand: x\n"
                "schema: {positional: [{name: p, type: array, required: true}]}\n")  # fmt: skip
    with pytest.raises(InvalidArgumentError, match="needs at least one 'p'"):
        command_line(tool, tool.whole, [[]], {})


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(
    first=TEXTS | st.sampled_from(["-K", "--", "-", "--output=x", "@f"]),
    rest=st.lists(TEXTS | st.sampled_from(["-o", "--"]), max_size=3),
    options=st.fixed_dictionaries(
        {},
        optional={
            "flag": st.booleans(),
            "quiet": st.booleans(),
            "word": TEXTS | st.sampled_from(["-f", "--", "-"]),
            "long_word": TEXTS,
            "count": st.integers(-5, 9),
            "ratio": st.floats(allow_nan=False, allow_infinity=False),
            "item": st.lists(TEXTS | st.sampled_from(["-f", "--quiet"]), max_size=3),
        },
    ),
    dashed=st.booleans(),
)
def test_no_value_ever_becomes_an_option_or_a_second_argument(
    first: str, rest: list[str], options: dict[str, Any], dashed: bool
) -> None:
    tool = DASHED if dashed else DEFINITION
    dashing = any(text.startswith("-") for text in (first, *rest))
    try:
        found = arguments(first, 1, rest, tool=tool, **options)
    except InvalidArgumentError:
        assert dashing
        assert not dashed
        return
    assert dashed or not dashing
    positionals = [first, "1", *rest]
    head, tail = found[: -len(positionals)], found[-len(positionals) :]
    assert tail == positionals
    if dashed:
        assert head.pop() == "--"
    given = {name: value for name, value in options.items() if value != []}
    defaults = {"flag": False, "quiet": True, "size": 7}
    assert _read_as_a_program_would(head) == {**defaults, **given}


def _read_as_a_program_would(entries: list[str]) -> dict[str, Any]:
    """Parses options as getopt does: a flag takes the next entry, whatever that is."""
    known = {option.flag: option for option in DEFINITION.options}
    read: dict[str, Any] = {}
    left = iter(entries)
    for entry in left:
        option = known[entry]
        if option.type == "boolean":
            read[option.name] = True
        elif option.type == "array":
            read.setdefault(option.name, []).append(next(left))
        else:
            kind = {"integer": int, "number": float, "string": str}[option.type]
            read[option.name] = kind(next(left))
    return {"flag": False, "quiet": False, **read}
