"""The server's process: no secret in its environment, one listening socket, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import uvicorn
import uvloop

from py_code_mode.errors import CodeModeError, ConfigurationError
from py_code_mode.server import logs
from py_code_mode.server.app import create_app
from py_code_mode.server.core import Core
from py_code_mode.settings import Settings

log = logging.getLogger(__name__)

#: The variables that stay in the environment; everything else goes through the inherited pipe.
_KEPT: Final = frozenset(
    {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ"}
)
_BACKLOG: Final = 2048
#: Longer than any proxy keeps an idle connection, so that it is never ours that is closed first.
_KEEP_ALIVE_S: Final = 75
_CLOSE_S: Final = 5


def restart_without_secrets(environ: Mapping[str, str]) -> None:
    """Replace this process by one whose environment holds nothing but what is harmless.

    ``/proc/<pid>/environ`` shows what a process was started with, for as long as it lives; what
    was in it goes through a descriptor instead, which is read once.
    """
    handed = os.memfd_create("settings", 0)
    os.write(handed, json.dumps(dict(environ)).encode())
    os.lseek(handed, 0, os.SEEK_SET)
    os.set_inheritable(handed, True)  # noqa: FBT003 - the standard library's signature
    kept = {name: value for name, value in environ.items() if name in _KEPT}
    command = [sys.executable, *_flags(), "-m", "py_code_mode.server", str(handed)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, kept)  # noqa: S606 - ourselves


def main(handed: int) -> int:
    """Serve with the environment behind a descriptor; returns the exit code."""
    with os.fdopen(handed, "rb") as file:
        environ: dict[str, str] = json.loads(file.read())
    try:
        settings = Settings.from_environ(environ)
        logs.set_up(settings.log_format, settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings))
    except CodeModeError as error:
        sys.stderr.write(f"py-code-mode serve: {error.message}\n")
        return 2


async def _serve(settings: Settings) -> int:
    app = create_app(settings)
    core: Core = app.state.core
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_CLOSE_S,
        backlog=_BACKLOG,
    )
    server = _Server(config)
    with _listening(settings) as sock:
        # Opened here and not by the lifespan, so that what is wrong is one line, not a traceback.
        async with core.opened():
            loop = asyncio.get_running_loop()
            ending: set[asyncio.Task[None]] = set()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, _begin_to_end, core, server, ending)
            host, port = sock.getsockname()[:2]
            log.info("listening on http://%s:%d", host, port)
            await server.serve([sock])
            await asyncio.gather(*ending)
    return 0


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _begin_to_end(core: Core, server: uvicorn.Server, ending: set[asyncio.Task[None]]) -> None:
    if ending:
        server.force_exit = server.should_exit = True  # asked for twice
        return

    async def end() -> None:
        await core.drain()
        server.should_exit = True

    ending.add(asyncio.ensure_future(end()))


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """Bind before anything is started. Raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named, or the loop would not turn off Nagle's delay.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error};"
                " set HOST and PORT"
            ) from None
        yield sock


def _flags() -> list[str]:
    """Return the interpreter's own options that are to be kept."""
    kept = []
    if sys.flags.isolated:
        kept.append("-I")
    for name, value in sys._xoptions.items():
        kept += ["-X", name if value is True else f"{name}={value}"]
    return kept
