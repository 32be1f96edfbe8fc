"""Text of others is shown as one plain line that cannot act on a terminal or hide words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import InvalidArgumentError
from py_code_mode.text import LISTING_CHARS, check_description, one_line, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("two\nlines", "two\nlines"),
        ("dos\r\nmac\rend", "dos\nmac\nend"),
        ("tab\tand\x00null", "tab andnull"),
        ("\x1b[31mred\x1b[0m and \x9b1mbold", "red and bold"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]unterminated\nnext line", "\nnext line"),
        ("cut \x1b[31", "cut "),
        ("lone \ud800 half", "lone  half"),
        ("bidi \u202eevil\u202c, zero\u200bwidth, tag\U000e0041", "bidi evil, zerowidth, tag"),
        (
            "family \U0001f468\u200d\U0001f469, Größe, 日本",
            "family \U0001f468\u200d\U0001f469, Größe, 日本",
        ),
    ],
)
def test_what_could_act_or_hide_is_removed(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_listing_gets_one_line_cut_visibly() -> None:
    assert one_line("  a\n\n b\u2028c\u00a0d ") == "a b c d"
    assert one_line("word " * 100) == f"{'word ' * 39}word…"
    assert one_line("x" * 200) == "x" * 200


@given(st.text(st.characters(exclude_categories=[]), max_size=400))
def test_a_line_is_always_short_encodable_and_without_controls(text: str) -> None:
    line = one_line(text)
    assert len(line) <= LISTING_CHARS
    assert line.encode().decode() == line
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


@pytest.mark.parametrize("text", ["x" * 10_001, "half \ud800"])
def test_a_description_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^the description has "):
        check_description(text)
