"""The server's process on stdio: one connection, one session, an end with nothing left."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping

from py_code_mode import logs
from py_code_mode.errors import CodeModeError
from py_code_mode.mcp_server.serving import make_server
from py_code_mode.models import Limits
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.sessions.session import Session
from py_code_mode.settings import read_setting
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.redis_extra import redis_storage
from py_code_mode.variables import starting
from py_code_mode.workers.hiding import hide_process

log = logging.getLogger(__name__)


def main(handed: int) -> int:
    """Serve stdin and stdout, with the settings behind a descriptor; returns the exit code."""
    hide_process()
    with os.fdopen(handed, "rb") as file:
        variables: dict[str, str] = json.loads(file.read())
    try:
        _set_up_logs(read_setting("log_format", variables))
        asyncio.run(_serve(variables))
    except CodeModeError as error:
        sys.stderr.write(f"py-code-mode mcp: {error.message}\n")
        return 2
    return 0


def _set_up_logs(log_format: str) -> None:
    """Standard output belongs to the protocol; everything else is said on standard error."""
    if log_format == "json":
        logs.set_up(log_format, "warning")
    else:
        logging.basicConfig(
            stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s"
        )


async def _serve(variables: Mapping[str, str]) -> None:
    async with _session(variables) as session:
        server = make_server(session, runtime_deps=_runtime_deps(variables))
        installing = asyncio.create_task(_install_packages(session))
        serving = asyncio.create_task(server.run_stdio_async())
        ended = await _until_over(serving)
        installing.cancel()
        await asyncio.gather(installing, return_exceptions=True)
    if not ended:
        # A thread waits for standard input, and cannot be told to stop; the session is closed.
        sys.stderr.flush()
        os._exit(0)


async def _until_over(serving: asyncio.Task[None]) -> bool:
    """Wait until the client has gone, which is True, or until we are asked to end."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, asked.set)
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        serving.result()
    return serving.done()


async def _install_packages(session: Session) -> None:
    """Install what the store lists while the client is being served."""
    try:
        await session.sync_deps()
    except CodeModeError as error:
        log.warning("the stored packages were not installed: %s", error.message)


def _session(variables: Mapping[str, str]) -> Session:
    """Return the session that the settings describe. Raises ConfigurationError."""
    limits = Limits()
    if "EXECUTION_TIMEOUT" in variables:
        timeout_s = float(variables["EXECUTION_TIMEOUT"])
        longest_s = max(timeout_s, limits.max_execution_timeout_s)
        limits = Limits(execution_timeout_s=timeout_s, max_execution_timeout_s=longest_s)
    return Session(
        _storage(variables),
        limits=limits,
        allow_runtime_deps=_runtime_deps(variables),
        installer=PackageInstaller(
            environ=starting("UV_", variables),
            allow_build=read_setting("deps_allow_build", variables),
        ),
        tool_variables=starting("TOOL_", variables),
    )


def _storage(variables: Mapping[str, str]) -> Store:
    if "REDIS_URL" in variables:
        return redis_storage()(
            variables["REDIS_URL"], prefix=read_setting("redis_prefix", variables)
        )
    return FileStorage(variables["STORAGE_PATH"])


def _runtime_deps(variables: Mapping[str, str]) -> bool:
    return variables["ALLOW_RUNTIME_DEPS"] == "true"
