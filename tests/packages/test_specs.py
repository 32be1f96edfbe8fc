"""A package spec is a name with extras and versions, and nothing that an installer could obey."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from py_code_mode.errors import InvalidDepError
from py_code_mode.packages.specs import PackageSpec, name_of, parse_spec


@pytest.mark.parametrize(
    ("text", "name", "normal"),
    [
        ("requests", "requests", "requests"),
        ("requests>=2.0", "requests", "requests>=2.0"),
        ("Foo_Bar.baz", "foo-bar-baz", "foo-bar-baz"),
        ("a[Y, x_z]", "a", "a[x-z,y]"),
        ("a < 2 , >= 1, != 1.5.*", "a", "a!=1.5.*,<2,>=1"),
        ("a (>=1)", "a", "a>=1"),
        ("a~=1.4", "a", "a~=1.4"),
        ("a==1.0+cpu", "a", "a==1.0+cpu"),
        ("a==1!2.0rc1", "a", "a==1!2.0rc1"),
    ],
)
def test_a_spec_has_one_normal_form(text: str, name: str, normal: str) -> None:
    assert parse_spec(text) == PackageSpec(name, normal)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        (" requests", "begins or ends with a space"),
        ("requests ", "begins or ends with a space"),
        ("requests\n", "has a line break"),
        ("a\n--index-url=x", "has a line break"),
        ("a\x00", "has a line break, a control character"),
        ("a\tb", "has a line break, a control character"),
        ("a\u00a0>=1", "beyond ASCII"),
        ("requ\u0435sts", "beyond ASCII"),
        ("a" * 201, "has 201 characters, and 200 are allowed"),
        ("a @ https://127.0.0.1/a.whl", "is a URL"),
        ("a@file:///a", "is a URL"),
        ("https://127.0.0.1/a.whl", "is a URL"),
        ("git+ssh://git@127.0.0.1/a", "is a URL or a reference to version control"),
        ("./a", "is a path"),
        (".", "is a path"),
        ("..", "is a path"),
        ("/etc/passwd", "is a path"),
        ("~/a", "is a path"),
        ("a/b", "is a path"),
        ("C:\\a", "is a path"),
        ("a-1.0-py3-none-any.whl", "is a path"),
        ("a-1.0.tar.gz", "is a path"),
        ("requirements.txt", "is a path"),
        ("a; python_version > '3'", "has an environment marker"),
        ("a;", "has an environment marker"),
        ("-r requirements.txt", "is an option of the installer"),
        ("--index-url=x", "is an option of the installer"),
        ("-e .", "is an option of the installer"),
        ("a --hash=sha256:0", "is not a package spec"),
        ("${NAME}", "refers to an environment variable"),
        ("$HOME", "refers to an environment variable"),
        ("%PATH%", "refers to an environment variable"),
        ("a # comment", "has a comment"),
        ("a===1.0", "compares with '==='"),
        ("a b", "is not a package spec"),
        ("a,b", "is not a package spec"),
        ("a>=", "is not a package spec"),
        ("a>=x", "is not a package spec"),
        ("a[", "is not a package spec"),
        ("[a]", "is not a package spec"),
        (">=1", "is not a package spec"),
        ("a-", "is not a package spec"),
        ("a[b_]", "is not a package spec"),
        ("a`id`", "is not a package spec"),
        ("json", "is named like the module 'json' of Python's standard library"),
        ("JSON>=1", "is named like the module 'json'"),
        ("py_code_mode", "is part of the sandbox"),
        ("Py.Code-Mode_Guest", "is part of the sandbox"),
        ("msgpack<1", "is part of the sandbox"),
        ("cloudpickle", "is part of the sandbox"),
        ("numpy==1", "is loaded by the operator"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, fault: str) -> None:
    with pytest.raises(InvalidDepError, match=re.escape(fault)) as raised:
        parse_spec(text, preloaded=("numpy.linalg",))
    assert raised.value.message.isascii()
    assert "\n" not in raised.value.message
    assert len(raised.value.message) < 350


@given(
    st.text(max_size=40)
    | st.from_regex(r"[A-Za-z0-9._\[\], <>=!~*+-]{1,40}", fullmatch=True)
    | st.from_regex(r"[a-zA-Z]{2,5}(\[[a-z, ]{1,4}\])? ?[<>=!~]=? ?[0-9.]{1,4}", fullmatch=True)
)
@example("a[b,c]>=1,<2")
def test_what_is_accepted_is_one_harmless_line_and_stays_as_it_is(text: str) -> None:
    try:
        spec = parse_spec(text)
    except InvalidDepError:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*(\[[a-z0-9,-]+\])?[A-Za-z0-9<>=!~.,*+_-]*", spec.text)
    assert parse_spec(spec.text) == spec
    assert name_of(spec.text) == spec.name
    assert name_of(text) == spec.name


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("Foo_Bar[x]>=1", "foo-bar"),
        ("a @ https://127.0.0.1/a.whl", "a"),
        ("a; python_version > '3'", "a"),
        ("-r x", None),
        ("https://127.0.0.1/", None),
        ("", None),
    ],
)
def test_what_others_stored_has_a_name_where_it_begins_with_one(
    stored: str, name: str | None
) -> None:
    assert name_of(stored) == name
