"""A server that is everybody's last parent, as process 1 of a container is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from . import serving
from .serving import Place, eventually, state_of

#: Adopts orphans as process 1 does, leaves some to what it then becomes, and says which.
FIRST = """#!{python}
import os, sys, time
from py_code_mode_guest import lockdown

lockdown.adopt_orphans()
if os.fork() == 0:
    pids = []
    for number in range(5):
        pid = os.fork()
        if pid == 0:
            time.sleep(1 + number / 2)
            os._exit(number)
        pids.append(pid)
    with open({told!r}, "w") as file:
        file.write(" ".join(map(str, pids)))
    os._exit(0)
os.wait()
os.execv({command!r}, [{command!r}, *sys.argv[1:]])
"""


def test_orphans_are_buried(own: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, first = tmp_path / "told", tmp_path / "first"
    command = str(serving.COMMAND)
    first.write_text(FIRST.format(python=sys.executable, told=str(told), command=command))
    first.chmod(0o755)
    monkeypatch.setattr(serving, "COMMAND", first)
    server = own.start()
    orphans = [int(word) for word in told.read_text().split()]
    assert len(orphans) == 5
    eventually(lambda: [state_of(pid) for pid in orphans] == [""] * 5)
    with server.client() as client:
        assert client.value("6 * 7") == 42
    assert server.stop() == 0
