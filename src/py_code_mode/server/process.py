"""The server's process: no secret in its environment, one listening socket, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

import uvloop

from py_code_mode import logs
from py_code_mode.errors import CodeModeError, ConfigurationError
from py_code_mode.server.core import Core
from py_code_mode.server.ending import ASKED
from py_code_mode.server.orphans import orphans_buried
from py_code_mode.settings import Settings
from py_code_mode.variables import DEFAULT_BASE
from py_code_mode.workers.hiding import hide_process
from py_code_mode.workers.launcher import Launcher, give_up_root

if TYPE_CHECKING:
    from py_code_mode.server.web import Server

log = logging.getLogger(__name__)

_OPEN_FILES: Final = 65536
#: A variable that is set and empty is no leave to do this; the image has one.
_BY_DEFAULT: Final = (
    "neither REDIS_URL nor STORAGE_PATH is set, so tools, skills, artifacts and packages are kept"
    " in %s, which is this server's alone"
)


def main(handed: int, uid: int = 0) -> int:
    """Serve with the environment behind a descriptor; returns the exit code.

    Root becomes ``uid`` first, unless that is root's own.
    """
    launcher = give_up_root(uid, secret=handed) if uid else None
    hide_process()
    with os.fdopen(handed, "rb") as file:
        environ: dict[str, str] = json.loads(file.read())
    try:
        nowhere = not {"REDIS_URL", "STORAGE_PATH"} & environ.keys()
        base = {"STORAGE_PATH": os.path.abspath(DEFAULT_BASE)} if nowhere else {}
        settings = Settings.from_environ({**environ, **base})
        logs.set_up(settings.log_format, settings.log_level)
        if nowhere:
            log.warning(_BY_DEFAULT, settings.storage_path)
        _allow_open_files()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, launcher))
    except asyncio.CancelledError:
        log.info("asked to end before there was anything to drain")
        return 0
    except CodeModeError as error:
        sys.stderr.write(f"py-code-mode serve: {error.message}\n")
        return 2


def _allow_open_files() -> None:
    """Take what the system lets us have: each session needs a few descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


async def _serve(settings: Settings, launcher: Launcher | None) -> int:
    starting = asyncio.current_task()
    assert starting is not None  # noqa: S101 - we run in one
    _when_asked(starting.cancel)
    core = Core(settings, launcher=launcher)
    with _listening(settings) as sock:
        # Opened here and not by the lifespan, so that what is wrong is one line, not a traceback.
        # The framework takes as long to load as the sessions take to start: side by side.
        made = asyncio.create_task(asyncio.to_thread(_make_server, core))
        async with orphans_buried(), core.opened():
            server = await made
            ending: set[asyncio.Task[None]] = set()
            _when_asked(lambda: _begin_to_end(core, server, ending))
            host, port = sock.getsockname()[:2]
            url, storage = f"http://{host}:{port}", core.store.describe()
            log.info("listening on %s", url, extra={"url": url, "storage": storage})
            await server.serve([sock])
            await asyncio.gather(*ending, return_exceptions=True)
    return 0


def _when_asked(answer: Callable[[], object]) -> None:
    for number in ASKED:
        asyncio.get_running_loop().add_signal_handler(number, answer)


def _make_server(core: Core) -> Server:
    return import_module("py_code_mode.server.web").make_server(core)  # type: ignore[no-any-return]


def _begin_to_end(core: Core, server: Server, ending: set[asyncio.Task[None]]) -> None:
    if ending:
        for task in ending:  # asked for twice
            task.cancel()
        server.force_exit = server.should_exit = True
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
        except (OSError, TypeError, UnicodeError) as error:  # no address, or no host name
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port}: {reason}; set HOST and PORT"
            ) from None
        yield sock
