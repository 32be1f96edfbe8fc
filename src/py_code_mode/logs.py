"""Logs on standard error: lines for people, or one JSON object each for machines."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

#: What a LogRecord has of itself; the rest of its attributes were given by whoever logged.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def set_up(log_format: str, level: str) -> None:
    """Send every log of this process through one handler, as ``text`` or ``json``."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_given_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        last: list[Any] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Its own lines of each connection say less than ours.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _add_given_fields(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    record: logging.LogRecord | None = event.get("_record")
    if record is not None:
        given = vars(record)
        event.update({name: given[name] for name in given.keys() - _OWN})
    return event
