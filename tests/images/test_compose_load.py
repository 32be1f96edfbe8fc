"""What a client of the proof notes, against a server that loses sessions in every way."""

from __future__ import annotations

from typing import Any

import pytest
from compose_load import Driver, Ledger, Proxy


class Scripted(Proxy):
    """Gives the answers of a list, whatever it is asked."""

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, str]:
        """Return the next answer: None, or a count and whether the session was lost."""
        said = ANSWERS.pop(0)
        if said is None:
            return 0, None, ""
        count, lost = said
        return 200, {"is_ok": True, "value": count, "state": {"lost": lost}}, ""


ANSWERS: list[tuple[int, bool] | None] = []


@pytest.mark.parametrize(
    ("answers", "told", "silent", "failed"),
    [
        pytest.param([(1, False), (2, False)], 0, 0, 0, id="nothing is lost"),
        pytest.param([(1, False), (1, True)], 1, 0, 0, id="lost and told"),
        pytest.param([(1, False), (1, False)], 0, 1, 0, id="lost and not told"),
        pytest.param([(1, False), None, (1, False)], 0, 1, 1, id="cut off, lost and not told"),
        pytest.param([(1, False), None, (3, False)], 0, 0, 1, id="cut off and kept"),
        pytest.param([(1, False), None, (2, False)], 0, 0, 1, id="never begun and kept"),
    ],
)
def test_a_client_tells_losses_that_were_told_from_others(
    answers: list[tuple[int, bool] | None], told: int, silent: int, failed: int
) -> None:
    ANSWERS[:] = answers
    ledger = Ledger()
    driver = Driver(1, Scripted(1, "token"), ledger)
    for _ in answers:
        driver.run_once()
    assert (ledger.told, ledger.silent, ledger.failed) == (told, silent, failed)


def test_failures_are_late_once_the_proxy_knows() -> None:
    ledger = Ledger(settled_at=10.0)
    ledger.note_failure(9.0)
    ledger.note_failure(11.0)
    assert (ledger.failed, ledger.late) == (2, 1)
