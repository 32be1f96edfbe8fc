"""What every test shares: the rule for tests that need root."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

ROOT_REQUIRED = os.environ.get("PY_CODE_MODE_REQUIRE_ROOT") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs root when we are not root."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: run it in a container, or through .ci/run")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a ``root`` test that skips, for whatever reason, where root was promised."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if ROOT_REQUIRED and skipped and item.get_closest_marker("root"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} skipped, but PY_CODE_MODE_REQUIRE_ROOT=1 promises all it needs: "
            f"{report.longrepr}"
        )
    return report
