"""How uv is started: what it is told, and the little it can see of the host."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from typing import Final

import uv

from py_code_mode.errors import DepInstallError
from py_code_mode.models import MIB, Program
from py_code_mode.packages.folders import site_of
from py_code_mode.packages.specs import GUEST_LIBRARIES

_MAX_OUTPUT_BYTES: Final = MIB // 4
#: What the operator may not set, because a promise of ours rests on it.
_OURS: Final = frozenset(
    {"UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_LINK_MODE", "UV_PROJECT", "UV_PYTHON", "UV_WORKING_DIR"}
)
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class UvCommand:
    """Makes the programs of one installer; ``options`` are added to every installation."""

    def __init__(
        self, *, environ: Mapping[str, str], options: Collection[str], downloads: str
    ) -> None:
        passed = {
            name: value
            for name, value in environ.items()
            if name.startswith("UV_") and name not in _OURS
        }
        self._environ = {**passed, "UV_CACHE_DIR": downloads, "UV_PYTHON_DOWNLOADS": "never"}
        self._options = tuple(options)

    def install(
        self, aside: str, specs: Collection[str], constraints: Collection[str], *, timeout_s: float
    ) -> Program:
        """Return the program that installs into ``aside``. Raises DepInstallError without uv."""
        arguments = [*self._options, "--target", site_of(aside), "--python", sys.executable]
        # Specs go through files, so that none can become an option or be taken for a path.
        arguments += ["-r", _given(aside, "specs", specs)]
        # What the guest brings itself is there without being installed.
        arguments += ["--excludes", _given(aside, "excludes", GUEST_LIBRARIES)]
        if constraints:
            arguments += ["-c", _given(aside, "constraints", constraints)]
        fixed = ("--no-config", "--no-progress", "--color", "never", "--link-mode", "hardlink")
        return Program(
            argv=(_uv_binary(), "pip", "install", *fixed, *arguments),
            env=_environment(aside) | self._environ,
            timeout_s=timeout_s,
            max_output_bytes=_MAX_OUTPUT_BYTES,
        )

    def compile(self, aside: str, *, timeout_s: float) -> Program:
        """Return the program that compiles what is installed in ``aside`` and not compiled yet."""
        return Program(
            argv=(sys.executable, "-I", "-m", "compileall", "-qq", "-j", "0", site_of(aside)),
            env=_environment(aside),
            timeout_s=timeout_s,
            max_output_bytes=_MAX_OUTPUT_BYTES,
        )


def _environment(aside: str) -> dict[str, str]:
    home = os.path.join(aside, "home")
    return {**_ENVIRONMENT, "HOME": home, "TMPDIR": home}


def _given(aside: str, name: str, lines: Collection[str]) -> str:
    path = os.path.join(aside, "given", f"{name}.txt")
    with open(path, "x", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in sorted(lines))
    return path


def _uv_binary() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise DepInstallError(
            "packages cannot be installed: uv is missing beside py-code-mode; the operator "
            "installs it with: python -m pip install uv",
            reason="uv is missing",
        ) from error
