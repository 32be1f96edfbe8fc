"""The web server around the application; loading it takes most of a start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import uvicorn

from py_code_mode.server.app import create_app
from py_code_mode.server.core import Core
from py_code_mode.server.protocol import BoundedProtocol

_BACKLOG: Final = 2048
#: Longer than any proxy keeps an idle connection, so that it is never ours that is closed first.
_KEEP_ALIVE_S: Final = 75
_CLOSE_S: Final = 5


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


def make_server(core: Core) -> Server:
    """Return a server for a core that is opened by its caller."""
    config = uvicorn.Config(
        create_app(core.settings, core),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_CLOSE_S,
        backlog=_BACKLOG,
    )
    return Server(config)
