"""The dispatcher finds operations, passes their values and errors, and keeps our secrets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from py_code_mode.errors import (
    InternalError,
    InvalidArgumentError,
    SkillNotFoundError,
    UnknownOperationError,
)
from py_code_mode.services.dispatch import Dispatcher
from py_code_mode.services.operation import operation


class Oven:
    """A service that counts, fails and leaks."""

    def __init__(self) -> None:
        self.baked: list[str] = []

    @operation
    async def bake(self, name: str, minutes: int = 10) -> dict[str, Any]:
        """Bake something."""
        self.baked.append(name)
        return {"name": name, "minutes": minutes}

    @operation
    async def miss(self) -> None:
        """Raise an error of the product."""
        raise SkillNotFoundError("there is no skill 'x'", name="x")

    @operation
    async def leak(self) -> None:
        """Raise an error that holds a secret."""
        raise RuntimeError("redis://:secret@host")

    @operation
    async def wait(self) -> None:
        """Never end."""
        await asyncio.Event().wait()

    async def clean(self) -> None:
        """No operation."""


@pytest.fixture
def oven() -> Oven:
    return Oven()


@pytest.fixture
def dispatcher(oven: Oven) -> Dispatcher:
    return Dispatcher({"oven": oven})


async def test_a_call_runs_the_operation_and_returns_its_value(dispatcher: Dispatcher) -> None:
    value = await dispatcher.call("oven", "bake", ["bread"], {"minutes": 40})
    assert value == {"name": "bread", "minutes": 40}


async def test_an_argument_that_does_not_fit_is_refused_before_anything_runs(
    dispatcher: Dispatcher, oven: Oven
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"oven\.bake\(\) needs int for 'minutes'"):
        await dispatcher.call("oven", "bake", ["bread", "40"], {})
    assert oven.baked == []


@pytest.mark.parametrize(
    ("namespace", "name", "message"),
    [
        ("oven", "bakes", "oven has no method 'bakes'; did you mean 'bake'?"),
        ("oven", "xyz", "oven has no method 'xyz'; there are: bake, miss, leak, wait"),
        (
            "oven",
            "clean",
            "oven has no method 'clean'; did you mean 'leak'?",
        ),
        (
            "oven",
            "__init__",
            "oven has no method '__init__'; there are: bake, miss, leak, wait",
        ),
        ("ovens", "bake", "there is no namespace 'ovens'; did you mean 'oven'?"),
    ],
)
async def test_what_is_no_operation_is_unknown_and_names_close_matches(
    dispatcher: Dispatcher, namespace: str, name: str, message: str
) -> None:
    with pytest.raises(UnknownOperationError) as caught:
        await dispatcher.call(namespace, name, [], {})
    assert caught.value.message == message


async def test_errors_of_the_product_pass_unchanged(dispatcher: Dispatcher) -> None:
    with pytest.raises(SkillNotFoundError) as caught:
        await dispatcher.call("oven", "miss", [], {})
    assert (caught.value.message, caught.value.name) == ("there is no skill 'x'", "x")


async def test_any_other_failure_is_logged_and_its_text_is_not_told(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InternalError) as caught:
        await dispatcher.call("oven", "leak", [], {})
    assert caught.value.message == (
        "oven.leak() failed inside the server; the reason is in the server's log"
    )
    assert caught.value.__cause__ is None
    assert "redis://:secret@host" in caplog.text


async def test_cancelling_a_call_cancels_its_operation(dispatcher: Dispatcher) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await dispatcher.call("oven", "wait", [], {})


def test_the_description_is_derived_from_the_methods(dispatcher: Dispatcher) -> None:
    described = dispatcher.describe()
    assert described["oven"][0] == {
        "name": "bake",
        "signature": "(name: str, minutes: int = 10) -> dict[str, Any]",
        "doc": "Bake something.",
    }
    assert [found["name"] for found in described["oven"]] == ["bake", "miss", "leak", "wait"]
