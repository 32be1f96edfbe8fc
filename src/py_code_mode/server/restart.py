"""A process without a secret in its environment: ourselves, started again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

#: The variables that stay in the environment; everything else goes through the inherited pipe.
_KEPT: Final = frozenset(
    {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ"}
)


def restart_without_secrets(
    environ: Mapping[str, str],
    *,
    kept: Mapping[str, str] | None = None,
    module: str = "py_code_mode.server",
    arguments: Sequence[str] = (),
) -> NoReturn:
    """Replace this process by one whose environment holds nothing but what is harmless of ``kept``.

    ``module`` is what it runs, and ``environ`` what it is handed; the two are one by default.
    ``arguments`` are what it has to know before it reads that.

    ``/proc/<pid>/environ`` shows what a process was started with, for as long as it lives; what
    was in it goes through a descriptor instead, which is read once.
    """
    handed = os.memfd_create("settings", 0)
    os.write(handed, json.dumps(dict(environ)).encode())
    os.lseek(handed, 0, os.SEEK_SET)
    os.set_inheritable(handed, True)  # noqa: FBT003 - the standard library's signature
    kept = environ if kept is None else kept
    environment = {name: value for name, value in kept.items() if name in _KEPT}
    # -P: a module in the folder that an operator happens to be in is none of ours.
    command = [sys.executable, *_flags(), "-P", "-m", module, str(handed), *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)  # noqa: S606 - ourselves


def _flags() -> list[str]:
    """Return the interpreter's own options that are to be kept."""
    kept = []
    if sys.flags.isolated:
        kept.append("-I")
    for name, value in sys._xoptions.items():
        kept += ["-X", name if value is True else f"{name}={value}"]
    return kept
