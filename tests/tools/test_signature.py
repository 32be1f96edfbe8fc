"""Signatures and help are valid Python and plain text, whatever the file says."""

from __future__ import annotations

import ast

from py_code_mode.tools.loading import load_definition
from py_code_mode.tools.signature import documentation, signature

TOOL = """\
name: tool
description: "Does \\x1b[31mthings\\u202e.\\nIn two lines."
command: tool
output: lines
timeout: 300
schema:
  options:
    flag: {type: boolean, description: Be loud.}
    on: {type: boolean, default: true}
    must: {type: integer, required: true, minimum: 1, maximum: 9}
    kind: {type: string, choices: [a, b], default: a, description: "Which\\nkind"}
    items: {type: array, pattern: "[a-z]+"}
    low: {type: number, minimum: 0.5}
  positional:
    - {name: one, required: true}
    - {name: two, type: integer, default: 3}
  stdin: {name: text, description: What is read}
recipes:
  short: {description: Only one, params: {one: {}}, preset: {must: 1}}
  fed: {params: {text: {required: true}, two: {}}, preset: {one: x, must: 1}}
"""
DEFINITION = load_definition(TOOL.replace("\n    on:", "\n    'on':"), file="tool.yaml")


def test_a_signature_is_valid_python_with_what_is_required_first() -> None:
    whole = signature(DEFINITION, DEFINITION.whole)
    assert whole == (
        "(one: str, two: int = 3, text: str | bytes | None = None, *, must: int, "
        "flag: bool = False, on: bool = True, kind: str = 'a', items: list[str] | None = None, "
        "low: float | None = None) -> list[str]"
    )
    assert signature(DEFINITION, DEFINITION.recipes["short"]) == "(one: str) -> list[str]"
    assert signature(DEFINITION, DEFINITION.recipes["fed"]) == (
        "(two: int = 3, *, text: str | bytes) -> list[str]"
    )
    for recipe in (DEFINITION.whole, *DEFINITION.recipes.values()):
        ast.parse(f"def f{signature(DEFINITION, recipe)}: ...")


def test_help_has_all_that_is_known_and_nothing_that_acts_on_a_terminal() -> None:
    assert (
        documentation(DEFINITION, DEFINITION.whole)
        == """\
Does things.
In two lines.

Args:
    text: What is read. Given to the program's standard input
    must: At least 1 and at most 9
    flag: Be loud
    kind: Which kind. One of 'a', 'b'
    items: Must match [a-z]+
    low: At least 0.5

Returns:
    list[str]: the lines that the program printed.

Raises:
    ToolCallError: the program failed; has exit_code, stdout and stderr.
    ToolTimeoutError: it took longer than 300 s."""
    )
    assert documentation(DEFINITION, DEFINITION.recipes["short"]).startswith("Only one\n\nReturns:")


def test_long_texts_are_cut() -> None:
    text = (
        f"name: x\ndescription: {'d' * 9_000}\ncommand: x\nschema: {{options: {{o: {{type: string, "
    )
    long = load_definition(f"{text}default: {'e' * 99}, description: {'f' * 999}}}}}}}\n", file="x")
    assert signature(long, long.whole) == "(*, o: str = ...) -> str"
    assert len(documentation(long, long.whole)) < 4_600
