"""Being asked to end before there is anything to drain."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from . import serving
from .serving import PATIENCE_S, Place, Server, clean_environ, eventually, is_alive

#: Less than any time-out of a start that hangs.
PROMPTLY_S = 10.0


def launched(server: Server) -> subprocess.Popen[bytes]:
    """Start it, and wait for nothing."""
    with server.log_file.open("ab") as log:
        server.process = subprocess.Popen(
            [serving.COMMAND, "serve"],
            env={**clean_environ(), **server.variables},
            stdout=log,
            stderr=log,
            cwd=server.folder,
        )
    return server.process


def started(server: Server) -> subprocess.Popen[bytes]:
    """Start it, and wait for its first answer to signals."""
    process = launched(server)
    eventually(lambda: caught(server.pid), PATIENCE_S)
    return process


def caught(pid: int) -> bool:
    """Tell whether a process has a handler for SIGTERM; process 1 gets it only then."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay_s", [0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8])
def test_at_any_moment_of_its_start_it_ends_when_asked(
    own: Place, delay_s: float, number: signal.Signals
) -> None:
    server = own.make()
    process = started(server)
    time.sleep(delay_s)
    family = server.processes()
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in server.log
    eventually(lambda: not any(map(is_alive, family)))
    # The zygote, whose host has gone, takes the folder with it.
    eventually(lambda: not [path for path in server.work.iterdir() if "sessions" in path.name])


def test_asked_before_python_runs_it_ends_as_soon_as_it_does(own: Place) -> None:
    """Where it is started with the signal held, as in the image."""
    server = own.make()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        process = launched(server)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert server.log == ""


def test_a_store_that_does_not_answer_keeps_nobody(own: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        server = own.make(REDIS_URL=url, STORE_TIMEOUT="60")
        process = started(server)
        with silent.accept()[0]:
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
            assert time.monotonic() - began < PROMPTLY_S
    assert "asked to end" in server.log
    assert "Traceback" not in server.log
