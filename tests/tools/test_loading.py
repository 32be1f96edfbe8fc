"""A tool's file is read whole, or refused with the line and the reason of every problem."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import ToolDefinitionError
from py_code_mode.tools.definition import ABSENT, Parameter, Recipe, ToolDefinition
from py_code_mode.tools.loading import load_definition
from py_code_mode.tools.values import LinearPattern

SEED = """\
name: curl
description: Make HTTP requests
command: curl
timeout: 60
tags: [http]

schema:
  options:
    silent:
      type: boolean
      short: s
      description: Silent mode (no progress output)
    header:
      type: array
      short: H
      description: HTTP headers
    data:
      type: string
      short: d
      description: POST data
  positional:
    - name: url
      type: string
      required: true
      description: Target URL

recipes:
  get:
    description: Simple GET request (silent, follow redirects)
    preset:
      silent: true
    params:
      url: {}
"""
HEAD = "name: x\ndescription: An example\ncommand: x\n"


def load(text: str) -> ToolDefinition:
    return load_definition(text, file="x.yaml")


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(ToolDefinitionError) as caught:
        load(text)
    found = [(int(each["line"]), str(each["reason"])) for each in caught.value.problems]
    assert caught.value.message == "\n".join(f"x.yaml:{line}: {why}" for line, why in found)
    assert (caught.value.file, caught.value.line, caught.value.reason) == ("x.yaml", *found[0])
    return found


def schema(text: str) -> str:
    """A file with this below ``schema``, which begins in line 5."""
    return f"{HEAD}schema:\n{dedent(text)}" if text[0] == " " else f"{HEAD}schema:\n  {text}"


def test_the_documented_format_is_read_as_it_is_meant() -> None:
    silent = Parameter("silent", "option", "boolean", "Silent mode (no progress output)", flag="-s")
    header = Parameter("header", "option", "array", "HTTP headers", flag="-H")
    data = Parameter("data", "option", "string", "POST data", flag="-d")
    url = Parameter("url", "positional", "string", "Target URL", required=True)
    about = "Simple GET request (silent, follow redirects)"
    assert load(SEED) == ToolDefinition(
        name="curl",
        description="Make HTTP requests",
        command="curl",
        args=(),
        timeout_s=60.0,
        tags=("http",),
        options=(silent, header, data),
        positional=(url,),
        stdin=None,
        recipes={"get": Recipe("get", about, (url,), {"silent": True})},
        output="text",
        env={},
        ok_exit_codes=(0,),
        network=True,
        ports=None,
        end_of_options=False,
    )


def test_everything_beyond_it_is_read_too() -> None:
    text = HEAD + dedent("""\
        type: cli
        args: [--fixed, "1"]
        timeout: 0.5
        output: json
        env: {LITERAL: a, TOKEN: "Bearer ${TOOL_TOKEN}"}
        ok_exit_codes: [0, 1]
        ports: [80, 443]
        end_of_options: true
        schema:
          options:
            max-time: {type: number, minimum: 0.5, maximum: 10, default: 2}
            my_level: {type: integer, long: lvl, choices: [1, 2]}
            kind: {type: string, pattern: "[a-z]+", short: kk, required: true}
          stdin: {name: text, description: What is read, required: true}
        recipes:
          do-it:
            preset: {kind: a, my_level: 2}
            params:
              text:
              max-time: {default: 5, description: Seconds}
              kind: {description: Which}
          bare:
        """)
    found = load(text)
    pattern = LinearPattern("[a-z]+")
    kind = Parameter("kind", "option", "string", required=True, pattern=pattern, flag="-kk")
    stdin = Parameter("text", "stdin", "string", "What is read", required=True)
    time = Parameter(
        "max_time", "option", "number", default=2, minimum=0.5, maximum=10, flag="--max-time"
    )
    level = Parameter("my_level", "option", "integer", choices=(1, 2), flag="--lvl")
    assert (found.options, found.positional, found.stdin) == ((time, level, kind), (), stdin)
    assert (found.args, found.timeout_s, found.output) == (("--fixed", "1"), 0.5, "json")
    assert found.env == {"LITERAL": "a", "TOKEN": "Bearer ${TOOL_TOKEN}"}
    assert (found.ok_exit_codes, found.ports, found.end_of_options) == ((0, 1), (80, 443), True)
    assert list(found.recipes) == ["do_it", "bare"]
    assert found.recipes["bare"].parameters == (time, level, kind, stdin)
    recipe = found.recipes["do_it"]
    assert recipe.fixed == {"my_level": 2}
    assert {each.name: (each.required, each.default) for each in recipe.parameters} == {
        "max_time": (False, 5),
        "kind": (False, "a"),
        "text": (True, ABSENT),
    }
    assert [each.description for each in recipe.parameters] == ["Seconds", "Which", "What is read"]


def test_a_recipe_without_params_takes_all_but_its_presets() -> None:
    found = load(SEED.replace("    params:\n      url: {}\n", ""))
    recipe = found.recipes["get"]
    assert [each.name for each in recipe.parameters] == ["header", "data", "url"]
    assert recipe.fixed == {"silent": True}


def test_a_recipe_may_change_the_type_of_a_parameter() -> None:
    text = schema(
        "options: {port: {type: string}}\nrecipes: {go: {params: {port: {type: integer}}}}"
    )
    assert load(text).recipes["go"].parameters[0].type == "integer"


TOP = [
    ("", 1, "the file is empty"),
    ("# nothing\n", 1, "the file is empty"),
    ("- a\n", 1, "the file holds a list, not 'key: value' lines"),
    ("curl\n", 1, "the file holds a text, not 'key: value' lines"),
    ("name: [\n", 2, "not YAML: did not find expected node content"),
    (f"{HEAD}tags:\n\t- a\n", 5, "not YAML: indented with a tab; use spaces"),
    (f"{HEAD}---\nname: y\n", 4, "not YAML: but found another document"),
    (f"{HEAD}tags: *nope\n", 4, "not YAML: found undefined alias"),
    (f"{HEAD}# \x07\n", 4, "a character that YAML does not allow; write it as an escape in quotes"),
    (f"{HEAD}name: y\n", 4, "the key 'name' is there twice"),
    (f"{HEAD}? [a]\n: b\n", 4, "the key a list or mapping is no text; put it in quotes"),
    (f"{HEAD}on: b\n", 4, "the key 'on' is no text; put it in quotes"),
    (f"{HEAD}tags: !!set {{a}}\n", 4, "a value of the type 'set' is not allowed here"),
    (f"{HEAD}tags: [!!python/name:os.system x]\n", 4,
     "a value of the type 'python/name:os.system' is not allowed here"),
    (f"{HEAD}tags: [2024-01-01]\n", 4,
     "a value of the type 'timestamp' is not allowed here; put it in quotes"),
    (f"{HEAD}timeout: !!int abc\n", 4, "'abc' is not what it looks like; quote it"),
    (f"{HEAD}tags: {'[' * 30}\n", 4, "nested more than 20 levels deep"),
    (f"{HEAD}tags: &a [*a]\n", 4, "its aliases (*name) repeat too much; write less of them"),
    (f"{HEAD}#{'x' * 262_144}\n", 1, "the file has more than 262,144 bytes"),
    (f"{HEAD}tags: [\ud800]\n", 1, "the file has half of a surrogate pair: no UTF-8 text"),
    ("name: x\ncommand: x\n", 1, "'description' is missing"),
    ("name: x\ndescription: ' '\ncommand: x\n", 2, "'description' is empty"),
    ("name: 5\ndescription: x\ncommand: x\n", 1,
     "'name' must be text, not the int '5'; put it in quotes"),
    ("description: x\nname: search\ncommand: x\n", 2, "tool 'search': the name is reserved"),
    ("name: for\ndescription: x\ncommand: x\n", 1, "tool 'for': it is a word of Python's own"),
    ("name: a b\ndescription: x\ncommand: x\n", 1,
     "tool 'a b': use letters, digits, '_' and '-', and begin with a letter"),
    ("name: _x\ndescription: x\ncommand: x\n", 1,
     "tool '_x': use letters, digits, '_' and '-', and begin with a letter"),
    ("name: \ufb01le\ndescription: x\ncommand: x\n", 1,
     "tool '\\ufb01le': Python reads it as 'file'; use that"),
    ("name: x\ndescription: x\ncommand: bin/x\n", 3,
     "command 'bin/x': give a program's name or an absolute path; relative paths depend on the "
     "folder"),
    ("name: x\ndescription: x\ncommand: x -s\n", 3,
     "command 'x -s': give the program alone; fixed arguments belong in 'args'"),
    (f"{HEAD}type: mcp\n", 4, "tools of the type 'mcp' are not available in this version"),
    (f"{HEAD}type: http\n", 4, "tools of the type 'http' are not available in this version"),
    (f"{HEAD}type: clii\n", 4, "'clii' is no type of tool; did you mean 'cli'?"),
    (f"{HEAD}timout: 5\n", 4, "unknown key 'timout'; did you mean 'timeout'?"),
    (f"{HEAD}timeout: 0\n", 4, "'timeout' is '0'; it should be greater than 0"),
    (f"{HEAD}timeout: 7200\n", 4, "'timeout' is '7200'; it should be less than or equal to 3600"),
    (f"{HEAD}timeout: .nan\n", 4, "'timeout' is 'nan'; it should be a finite number"),
    (f"{HEAD}timeout: fast\n", 4, "'timeout' must be a number, not text"),
    (f"{HEAD}tags: http\n", 4, "'tags' must be a list, not text"),
    (f"{HEAD}args:\n  - a\n  - 1\n", 6,
     "'args[2]' must be text, not the int '1'; put it in quotes"),
    (f"{HEAD}args: [no]\n", 4, "'args[1]' must be text, not true or false; put it in quotes"),
    (f'{HEAD}args: ["\\0"]\n', 4, "has a NUL character, which no program's argument can have"),
    (f"{HEAD}output: jsn\n", 4,
     "'output' must be 'text', 'json', 'lines' or 'bytes', not 'jsn'; did you mean 'json'?"),
    (f"{HEAD}ok_exit_codes: []\n", 4, "'ok_exit_codes' is empty"),
    (f"{HEAD}ok_exit_codes: [256]\n", 4,
     "'ok_exit_codes[1]' is '256'; it should be less than or equal to 255"),
    (f"{HEAD}network: 'yes'\n", 4, "'network' must be true or false, not text"),
    (f"{HEAD}ports: [0]\n", 4, "'ports[1]' is '0'; it should be greater than or equal to 1"),
    (f"{HEAD}network: false\nports: [1]\n", 5, "'ports' does not go with 'network: false'"),
    (f"{HEAD}env:\n  A: ${{HOME}}\n", 5,
     "env 'A': refers to 'HOME'; only variables of the host whose names begin with TOOL_ can be "
     "used"),
    (f"{HEAD}env: {{A: '${{TOOL_X'}}\n", 4, "env 'A': has a '${' without its '}'"),
    (f"{HEAD}env: {{'A B': x}}\n", 4, "env 'A B': use letters, digits and '_'"),
    (f"{HEAD}env: {{TMPDIR: x}}\n", 4, "env 'TMPDIR': is set by the jail, to the session's folder"),
    (f"{HEAD}schema: [a]\n", 4, "'schema' must be a mapping ('key: value' lines), not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "reason"), TOP)
def test_a_wrong_file_is_refused_with_line_and_reason(text: str, line: int, reason: str) -> None:
    assert (line, reason) in problems(text)


PARAMETERS = [
    ("option: {}", 5, "unknown key 'schema.option'; did you mean 'options' or 'positional'?"),
    ("options: {a: {}}", 5, "'schema.options.a.type' is missing"),
    ("options: {a: {type: bool}}", 5,
     "'schema.options.a.type' must be 'boolean', 'string', 'integer', 'number' or 'array', not "
     "'bool'; did you mean 'boolean'?"),
    ("options: {a: string}", 5,
     "'schema.options.a' must be a mapping ('key: value' lines), not text"),
    ("options: {a: {type: string, short: -a}}", 5,
     "'schema.options.a.short' is '-a'; write the flag's name alone, without its dashes"),
    ("options: {a: {type: string, long: '--a'}}", 5,
     "'schema.options.a.long' is '--a'; write the flag's name alone, without its dashes"),
    ("options: {class: {type: string}}", 5, "parameter 'class': it is a word of Python's own"),
    ("options: {self: {type: string}}", 5, "parameter 'self': the name is reserved"),
    ("options: {a-b: {type: string}, a_b: {type: string}}", 5,
     "parameter 'a_b': in Python it is 'a_b', and so is 'a-b'"),
    ("options: {a: {type: string, default: 5}}", 5, "the default needs str for 'a', not int"),
    ("options: {a: {type: integer, default: true}}", 5,
     "the default needs int for 'a', not bool"),
    ("options: {a: {type: integer, default: 9, maximum: 5}}", 5,
     "the default needs at most 5 for 'a', not 9"),
    ("options: {a: {type: integer, minimum: 9, maximum: 5}}", 5,
     "'minimum' is larger than 'maximum'"),
    ("options: {a: {type: integer, pattern: x}}", 5, "'pattern' does not go with the type integer"),
    ("options: {a: {type: string, minimum: 1}}", 5, "'minimum' does not go with the type string"),
    ("options: {a: {type: boolean, choices: [true]}}", 5,
     "'choices' does not go with the type boolean"),
    ("options: {a: {type: string, choices: [a, 1]}}", 5, "a choice needs str for 'a', not int"),
    ("options: {a: {type: string, choices: []}}", 5, "'schema.options.a.choices' is empty"),
    ("options: {a: {type: string, pattern: '('}}", 5,
     "the pattern '(' cannot be used: unclosed group"),
    ("options: {a: {type: string, pattern: 'a)|(b'}}", 5,
     "the pattern 'a)|(b' cannot be used: unopened group"),
    ("options: {a: {type: string, pattern: '(?=a)'}}", 5,
     "the pattern '(?=a)' cannot be used: look-around, including look-ahead and look-behind, is "
     "not supported"),
    ("options: {a: {type: string, required: true, default: x}}", 5,
     "required and with a default: remove one of them"),
    ("positional: {a: {}}", 5,
     "'schema.positional' must be a list, not a mapping"),
    ("positional: [{type: string}]", 5, "'schema.positional[1].name' is missing"),
    ("positional: [{name: a, type: boolean}]", 5,
     "a positional cannot be boolean: it has no flag that could be left out"),
    ("positional: [{name: a, default: -x}]", 5,
     "the default begins with '-' for 'a'; fixed options belong in 'args'"),
    ("positional: [{name: a}, {name: b, required: true}]", 5,
     "'b' is required and comes after 'a', which may be left out; the program could not tell them "
     "apart"),
    ("options: {a: {type: string}}\n  positional: [{name: a}]", 6,
     "parameter 'a': it is there twice"),
    ("stdin: {description: x}", 5, "'schema.stdin.name' is missing"),
    ("stdin: {name: x, type: string}", 5,
     "unknown key 'schema.stdin.type'; there are: description, required, name"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "reason"), PARAMETERS)
def test_a_wrong_parameter_is_refused_with_line_and_reason(
    text: str, line: int, reason: str
) -> None:
    assert problems(schema(text)) == [(line, reason)]


ONE = "options: {n: {type: integer, maximum: 9}, s: {type: boolean}}\n  positional: [{name: p, required: true}]\nrecipes:\n  "  # noqa: E501 - three lines of a file
RECIPES = [
    ("list: {preset: {p: a}}", "recipe 'list': the name is reserved"),
    ("call-async: {preset: {p: a}}", "recipe 'call-async': the name is reserved"),
    ("go: {prams: {}}", "unknown key 'recipes.go.prams'; did you mean 'params'?"),
    ("go: {params: {zz: {}, p: {}}}", "'zz' is not in the schema; there are: n, s, p"),
    ("go: {params: {p: {}}, preset: {nn: 1}}", "'nn' is not in the schema; did you mean 'n'?"),
    ("go: {params: {p: {}}, preset: {n: x}}", "the preset needs int for 'n', not str"),
    ("go: {params: {p: {}}, preset: {n: 10}}", "the preset needs at most 9 for 'n', not 10"),
    ("go: {preset: {p: -x}}",
     "the preset begins with '-' for 'p'; fixed options belong in 'args'"),
    ("go: {params: {p: {}, n: {default: 10}}}", "the default needs at most 9 for 'n', not 10"),
    ("go: {params: {p: {type: boolean}}}",
     "'p' is string in the schema and cannot be boolean here"),
    ("go: {params: {p: {}, n: {type: string}}}",
     "'n' has maximum for the type integer in the schema, so it cannot be string here"),
    ("go: {params: {p: {required: false}}}",
     "'p' is required by the schema; give a default, or make it optional there"),
    ("go: {params: {p: {required: true, default: x}}}",
     "required and with a default: remove one of them"),
    ("go: {params: {n: {}}}",
     "'p' is required and neither in 'params' nor in 'preset', so nobody could call 'go'"),
    ("go: {params: {p: {}, n: {maximum: 5}}}",
     "unknown key 'recipes.go.params.n.maximum'; there are: type, default, description, required"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), RECIPES)
def test_a_wrong_recipe_is_refused_with_line_and_reason(text: str, reason: str) -> None:
    assert problems(schema(ONE + text)) == [(8, reason)]


def test_two_recipes_cannot_have_one_name_in_python() -> None:
    reason = "recipe 'a_b': in Python it is 'a_b', and so is 'a-b'"
    assert problems(f"{HEAD}recipes:\n  a-b: {{}}\n  a_b: {{}}\n") == [(6, reason)]


def test_all_problems_of_a_file_are_told_at_once_in_their_order() -> None:
    text = HEAD.replace("command", "comand") + dedent("""\
        timeout: -1
        schema:
          options:
            a: {type: strng}
            b: {type: integer, default: x}
        recipes:
          go: {preset: {zz: 1}}
          list: {}
        """)
    assert problems(text) == [
        (1, "'command' is missing"),
        (3, "unknown key 'comand'; did you mean 'command'?"),
        (4, "'timeout' is '-1'; it should be greater than 0"),
        (7, "'schema.options.a.type' must be 'boolean', 'string', 'integer', 'number' or 'array', "
            "not 'strng'; did you mean 'string'?"),
        (8, "the default needs int for 'b', not str"),
        (11, "recipe 'list': the name is reserved"),
    ]  # fmt: skip


def test_aliases_are_followed_within_reason() -> None:
    assert load(f"{HEAD}args: &a [x, y]\ntags: *a\n").tags == ("x", "y")
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcde")
    )
    assert problems(bomb)[-1][1] == "its aliases (*name) repeat too much; write less of them"


@given(st.text(st.characters(exclude_categories=[]), max_size=200))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(ToolDefinitionError):
        load(text)


@given(st.data())
def test_no_part_of_a_file_does_more_than_be_refused(data: st.DataObject) -> None:
    lines = SEED.splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    key = lines[place].partition(":")[0]
    value = data.draw(st.sampled_from(["", "5", "[]", "{}", "x", "true", "[{}]", "{a: {}}", "~"]))
    with contextlib.suppress(ToolDefinitionError):
        load("\n".join([*lines[:place], f"{key}: {value}", *lines[place + 1 :]]))
