"""The page on the hostile suite tells every attempt, as it is made."""

from __future__ import annotations

from pathlib import Path

from hostile.reference import page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "hostile-suite.md"


def test_the_reference_page_is_up_to_date() -> None:
    again = "make it again: cd tests && python -m hostile > ../docs/reference/hostile-suite.md"
    assert PAGE.read_text(encoding="utf-8") == page(), again
