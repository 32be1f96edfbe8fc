"""Audit lines: what was done for agent code, in which session, and for which request."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

_log: Final = logging.getLogger("py_code_mode.audit")
#: Of the run under way: its calls are done in the context that it was started in.
_labels: ContextVar[Mapping[str, Any]] = ContextVar("labels", default={})  # noqa: B039 - read only


@contextmanager
def labelled(**labels: Any) -> Iterator[None]:
    """Give the runs that are started in the block labels, which their audit lines have then."""
    token = _labels.set(labels)
    try:
        yield
    finally:
        _labels.reset(token)


def is_on() -> bool:
    """Tell whether lines are written anywhere, for whoever makes an effort for them."""
    return _log.isEnabledFor(logging.INFO)


def write(event: str, **fields: Any) -> None:
    """Write a line: the fields, and the labels of the run that it belongs to."""
    _log.info(event, extra={**_labels.get(), **fields})
