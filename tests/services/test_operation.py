"""Operations are read from their methods: names, signatures, and the check of every argument."""

from __future__ import annotations

from typing import Any

import pytest

from py_code_mode.errors import InvalidArgumentError
from py_code_mode.models import Blob
from py_code_mode.services.operation import Operation, operation, operation_names


class Library:
    """A service with a parameter of every type that operations use."""

    @operation
    async def lend(self, title: str, days: int = 14, fee: float = 0.5) -> list[str]:
        """Lend a book."""
        return [title, f"{days} days", f"{fee}"]

    @operation
    async def note(
        self,
        text: str | None,
        raw: bytes,
        urgent: bool,
        tags: dict[str, Any] | None = None,
        shelves: list[int] | None = None,
        data: Any = None,
    ) -> None:
        """Keep a note."""

    async def burn(self, title: str) -> None:
        """No operation: nobody may call it from outside."""


LEND = Operation("library", Library().lend)
NOTE = Operation("library", Library().note)
LEND_CALL = (
    "it is called as library.lend(title: str, days: int = 14, fee: float = 0.5) -> list[str]"
)


def refusal(call: Operation, *args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(InvalidArgumentError) as caught:
        call.bind(args, kwargs)
    return caught.value.message, caught.value.fields


def test_only_marked_methods_are_operations_in_the_order_they_are_written() -> None:
    assert operation_names(Library) == ["lend", "note"]


def test_an_operation_says_how_it_is_called() -> None:
    assert (LEND.path, LEND.doc, LEND.signature) == (
        "library.lend",
        "Lend a book.",
        "(title: str, days: int = 14, fee: float = 0.5) -> list[str]",
    )
    assert NOTE.signature == (
        "(text: str | None, raw: bytes, urgent: bool, tags: dict[str, Any] | None = None, "
        "shelves: list[int] | None = None, data: Any = None) -> None"
    )


def test_arguments_bind_by_position_and_by_name() -> None:
    assert LEND.bind(["Emma"], {"fee": 1}) == {"title": "Emma", "fee": 1}


@pytest.mark.parametrize(
    ("args", "kwargs", "problem", "parameter"),
    [
        ([], {}, "needs 'title' (str), which is missing", "title"),
        ([1], {}, "needs str for 'title', not int", "title"),
        ([None], {}, "needs str for 'title', not None", "title"),
        (["Emma", True], {}, "needs int for 'days', not bool", "days"),
        (["Emma", 1.0], {}, "needs int for 'days', not float", "days"),
        (["Emma", 1, False], {}, "needs float for 'fee', not bool", "fee"),
        (["Emma"], {"dais": 3}, "has no parameter 'dais'; did you mean 'days'?", "dais"),
        (["Emma"], {"zzz": 3}, "has no parameter 'zzz'; there are: title, days, fee", "zzz"),
        (["Emma"], {"title": "Emma"}, "got 'title' twice, by position and by name", "title"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    args: list[Any], kwargs: dict[str, Any], problem: str, parameter: str
) -> None:
    message, fields = refusal(LEND, *args, **kwargs)
    assert message == f"library.lend() {problem}; {LEND_CALL}"
    assert fields == {"parameter": parameter}


def test_too_many_arguments_are_counted() -> None:
    message, fields = refusal(LEND, "Emma", 1, 1.0, "more")
    assert message == f"library.lend() takes at most 3 arguments, 4 were given; {LEND_CALL}"
    assert fields == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", b"x", "str | None"),
        ("raw", "x", "bytes"),
        ("urgent", 1, "bool"),
        ("tags", [], "dict[str, Any] | None"),
        ("tags", {1: 2}, "dict[str, Any] | None"),
        ("shelves", [True], "list[int] | None"),
    ],
)
def test_every_type_is_checked_strictly(name: str, value: object, expected: str) -> None:
    good: dict[str, Any] = {"text": None, "raw": b"", "urgent": False}
    message, fields = refusal(NOTE, **{**good, name: value})
    assert f"needs {expected} for '{name}', not {type(value).__name__};" in message
    assert fields == {"parameter": name}


@pytest.mark.parametrize("data", [None, 1, "x", b"x", [{}], {"a": 1}, Blob("a/b", b"")])
def test_data_may_be_anything(data: object) -> None:
    good = {"text": "x", "raw": b"", "urgent": True, "tags": {"a": [1]}, "shelves": [1, 2]}
    assert NOTE.bind([], {**good, "data": data}) == {**good, "data": data}


def test_a_hostile_name_is_cut_and_escaped_in_the_message() -> None:
    message, fields = refusal(LEND, "Emma", **{"\x1b[2J" + "x" * 100_000: 1})
    assert len(message) < 400
    assert "\x1b" not in message
    assert len(fields["parameter"]) == 100


def test_a_method_nobody_could_check_is_refused_when_it_is_introspected() -> None:
    async def complex_one(value: complex) -> None: ...

    async def star(*values: str) -> None: ...

    for method in (complex_one, star):
        with pytest.raises(TypeError, match="operations cannot"):
            Operation("library", method)
