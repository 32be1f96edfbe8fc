"""How uv is started: what it is told, and the little it can see of the host."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import uv

from py_code_mode.errors import DepInstallError
from py_code_mode.models import MIB, Program
from py_code_mode.packages.folders import made_of, site_of
from py_code_mode.packages.specs import GUEST_LIBRARIES

_FIXED: Final = ("--no-config", "--no-progress", "--color", "never")
_WHEELS_ONLY: Final = ("--only-binary", ":all:")
_MAX_OUTPUT_BYTES: Final = MIB // 4
#: What the operator may not set, because a promise of ours rests on it.
_OURS: Final = frozenset(
    {"UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_LINK_MODE", "UV_PROJECT", "UV_PYTHON", "UV_WORKING_DIR"}
)
#: Where distributions come from, which may be folders.
_INDEXES: Final = (
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
)
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class UvCommand:
    """Makes the programs of one installer.

    ``find_links`` are folders of distributions, and ``offline`` leaves them as the only source.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        find_links: Collection[str],
        offline: bool,
        downloads: str,
    ) -> None:
        passed = {
            name: value
            for name, value in environ.items()
            if name.startswith("UV_") and name not in _OURS
        }
        self._environ = {**passed, "UV_CACHE_DIR": downloads, "UV_PYTHON_DOWNLOADS": "never"}
        self._options = (
            *(("--offline", "--no-index") if offline else ()),
            *(f"--find-links={folder}" for folder in find_links),
        )
        # An option takes the variable's place, so that only one of the two can be added to.
        self._links_by_variable = "UV_FIND_LINKS" in passed and not find_links
        #: What uv reads beyond what every program may, as far as it was told.
        self.readable = [*find_links, *_paths_in(passed.get(name, "") for name in _INDEXES)]

    def install(
        self,
        aside: str,
        specs: Collection[str],
        constraints: Collection[str],
        *,
        sources: bool,
        timeout_s: float,
    ) -> Program:
        """Return the program that installs into ``aside``; with ``sources`` not from wheels alone.

        Raises DepInstallError without uv.
        """
        # Specs go through files, so that none can become an option or be taken for a path.
        arguments = ["-r", _given(aside, "specs", specs)]
        # What the guest brings itself is there without being installed.
        arguments += ["--excludes", _given(aside, "excludes", GUEST_LIBRARIES)]
        if constraints:
            arguments += ["-c", _given(aside, "constraints", constraints)]
        if sources:
            # Nothing that a source says it needs for its build, or where from, is looked at here.
            arguments += ("--no-build-isolation", "--no-sources")
            return self._with_links(
                self._pip_install(aside, site_of(aside), arguments, timeout_s), made_of(aside)
            )
        return self._pip_install(aside, site_of(aside), [*arguments, *_WHEELS_ONLY], timeout_s)

    def requirements(
        self, aside: str, target: str, specs: Collection[str], *, timeout_s: float
    ) -> Program:
        """Return the program that installs what a build needs, from wheels, into ``target``."""
        name = os.path.relpath(target, aside).replace(os.sep, "-")
        given = _given(aside, name, specs)
        return self._pip_install(aside, target, ["-r", given, *_WHEELS_ONLY], timeout_s)

    def know_python(self, aside: str, *, timeout_s: float) -> Program:
        """Return the program after which uv knows this Python without having to ask it again."""
        argv = (_uv_binary(), "python", "find", *_FIXED, "--offline", sys.executable)
        return self._program(argv, aside, timeout_s)

    def compile(self, aside: str, *, timeout_s: float) -> Program:
        """Return the program that compiles what is installed in ``aside`` and not compiled yet."""
        return Program(
            argv=(sys.executable, "-I", "-m", "compileall", "-qq", "-j", "0", site_of(aside)),
            env=_environment(aside),
            timeout_s=timeout_s,
            max_output_bytes=_MAX_OUTPUT_BYTES,
        )

    def _with_links(self, program: Program, folder: str) -> Program:
        """Return the program with one more folder of distributions."""
        if not self._links_by_variable:
            return replace(program, argv=(*program.argv, f"--find-links={folder}"))
        links = f"{program.env['UV_FIND_LINKS']},{folder}"
        return replace(program, env={**program.env, "UV_FIND_LINKS": links})

    def _pip_install(
        self, aside: str, target: str, arguments: Collection[str], timeout_s: float
    ) -> Program:
        fixed = (*_FIXED, "--link-mode", "hardlink", *self._options)
        where = ("--target", target, "--python", sys.executable)
        argv = (_uv_binary(), "pip", "install", *fixed, *where, *arguments)
        return self._program(argv, aside, timeout_s)

    def _program(self, argv: tuple[str, ...], aside: str, timeout_s: float) -> Program:
        return Program(
            argv=argv,
            env=_environment(aside) | self._environ,
            timeout_s=timeout_s,
            max_output_bytes=_MAX_OUTPUT_BYTES,
        )


def _paths_in(values: Iterable[str]) -> Iterator[str]:
    """Yield the absolute paths that variables name, on their own, in lists, and in URLs."""
    for value in values:
        for word in re.split(r"[\s,]+", value):
            path = re.sub(r"^(?:[\w.-]+=)?(?:file://)?", "", word)
            if os.path.isabs(path):
                yield path


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
