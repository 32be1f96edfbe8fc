"""So many calls at once, and the rest in order."""

from __future__ import annotations

from py_code_mode_guest.replies import Places


def test_who_comes_too_late_gets_the_place_of_one_that_was_answered() -> None:
    places = Places(2)
    assert (places.take(), places.take()) == (None, None)
    first, second = places.take(), places.take()
    assert first is not None
    assert second is not None
    assert places.give_back() is first
    assert places.give_back() is second
    assert places.give_back() is None
    assert places.take() is None


def test_who_leaves_is_passed_over() -> None:
    places = Places(1)
    places.take()
    first, second = places.take(), places.take()
    assert first is not None
    assert second is not None
    assert places.leave(first) is True
    assert places.give_back() is second
    assert places.leave(second) is False  # it has the place, and gives it back
    assert places.give_back() is None
    assert places.take() is None
