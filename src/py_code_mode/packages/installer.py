"""Installs sets of packages with uv, each set once, into folders that never change again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from py_code_mode.errors import InvalidDepError
from py_code_mode.models import MIB, Program, ProgramEnd
from py_code_mode.packages.building import Builder, Builds
from py_code_mode.packages.bytecode import reuse_bytecode
from py_code_mode.packages.command import UvCommand
from py_code_mode.packages.contents import RESOLVED, close, inspect, tree_size
from py_code_mode.packages.failures import BUILDS_OFF, failed, install_error, unknown_extra
from py_code_mode.packages.folders import (
    PackageFolder,
    PackageFolders,
    default_cache_dir,
    folder_key,
    remove_tree,
    site_of,
)
from py_code_mode.packages.process import Run, run_program
from py_code_mode.packages.sources import unbuilt
from py_code_mode.packages.specs import name_of, parse_spec
from py_code_mode.packages.watching import watched
from py_code_mode.text import plain, quoted

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class PackageInstaller:
    """Gives the folder of a set of specs, installing it where it is not there yet.

    ``cache_dir`` is where they are; by default a folder of this user's below the temporary one.
    Wheels only, unless ``allow_build``: what has none is then built while :meth:`building_in` lends
    jails for it. Of ``environ`` uv sees the variables whose names begin with ``UV_``, and nothing
    else of the host; what is being built sees none of them. ``offline`` leaves ``find_links``,
    local folders of distributions, as the only source.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str],
        find_links: Collection[str | os.PathLike[str]] = (),
        offline: bool = False,
        allow_build: bool = False,
        timeout_s: float = 300.0,
        max_mb: int = 2048,
        compile_bytecode: bool = True,
        run: Run | None = None,
    ) -> None:
        """Prepare an installer; nothing is read or written before the first call."""
        self._folders = PackageFolders(cache_dir or default_cache_dir())
        self._timeout_s = timeout_s
        self._max_mb = max_mb
        self._run = run or partial(run_program, max_file_bytes=max_mb * MIB)
        self._uv = UvCommand(
            environ=environ,
            find_links=[os.path.abspath(folder) for folder in find_links],
            offline=offline,
            downloads=self._folders.downloads,
        )
        self._allow_build = allow_build
        self._builds: list[Builds] = []
        self._compile_bytecode = compile_bytecode

    @contextmanager
    def building_in(self, builds: Builds) -> Iterator[None]:
        """Build packages there meanwhile, if they may be built; the workers' pool has come up."""
        self._builds.append(builds)
        try:
            yield
        finally:
            self._builds.remove(builds)

    def readable_folder(self) -> str:
        """Return the folder that workers must be able to read, having made it where missing.

        Raises:
            ConfigurationError: where the cache cannot be used, or others could write to it.
        """
        self._folders.prepare()
        return self._folders.packages

    async def find(
        self, specs: frozenset[str], *, constraints: tuple[str, ...] = ()
    ) -> PackageFolder | None:
        """Return the folder of a set that is installed; None where it is not."""
        return await _in_thread(self._find, _normal(specs), constraints)

    async def holds(self, folder: PackageFolder) -> bool:
        """Tell whether a folder that was given out is still there; unused ones go after a day."""
        return await _in_thread(self._folders.holds, folder)

    async def install(
        self, specs: frozenset[str], *, constraints: tuple[str, ...] = ()
    ) -> PackageFolder:
        """Return the folder of a set, installed now unless it is there.

        Callers of one set, in other processes too, share one installation. ``constraints`` are the
        ``name==version`` that an earlier installation of this set was resolved to.

        Raises:
            InvalidDepError: a spec or a constraint is not acceptable.
            DepInstallError: names the package and the reason; nothing was changed.
        """
        wanted = _normal(specs)
        _check_constraints(constraints)
        found = await _in_thread(self._find, wanted, constraints)
        if found is not None:
            return found
        await _in_thread(self._folders.prepare)
        try:
            return await self._install_once(wanted, constraints)
        except OSError as error:
            log.exception("packages could not be installed")
            raise failed(_names(wanted), error.strerror or type(error).__name__) from error

    def _find(self, specs: frozenset[str], constraints: tuple[str, ...]) -> PackageFolder | None:
        found = self._folders.find(folder_key(specs))
        if not constraints or (found is not None and set(found.resolved) == set(constraints)):
            return found
        return self._folders.find(folder_key(specs, constraints))

    async def _install_once(
        self, specs: frozenset[str], constraints: tuple[str, ...]
    ) -> PackageFolder:
        try:
            async with asyncio.timeout(self._timeout_s) as waiting, self._folders.locked():
                waiting.reschedule(None)  # from here on the time is the program's
                found = await _in_thread(self._find, specs, constraints)
                return found or await self._install(specs, constraints)
        except TimeoutError:
            reason = f"another installation was still under way after {self._timeout_s:g} s"
            raise failed(_names(specs), reason) from None

    async def _install(self, specs: frozenset[str], constraints: tuple[str, ...]) -> PackageFolder:
        await _in_thread(self._folders.sweep, max_download_bytes=self._max_mb * MIB)
        aside = await _in_thread(self._folders.new_aside)
        try:
            await self._fill(aside, specs, constraints)
            resolved = await _in_thread(inspect, site_of(aside))
            if self._compile_bytecode:
                await self._compile(aside, specs)
            await _in_thread(close, site_of(aside))
            key = folder_key(specs, constraints)
            folder = await _in_thread(self._folders.publish, aside, key, resolved)
        finally:
            await _in_thread(remove_tree, aside)
        log.info("installed %s", " ".join(resolved))
        return folder

    async def _fill(self, aside: str, specs: frozenset[str], constraints: tuple[str, ...]) -> None:
        """Install into ``aside``, from wheels, and from sources where they can be built."""
        no_build = self._no_build()
        program = await _in_thread(
            self._uv.install,
            *(aside, specs, constraints),
            sources=no_build is None,
            timeout_s=self._timeout_s,
        )
        if no_build is None:
            await self._build(program, aside, specs)
        else:
            self._check_end(await self._watched(program, aside, specs), specs, no_build)

    def _no_build(self) -> str | None:
        """Return why nothing can be built; None where it can."""
        if not self._allow_build:
            return BUILDS_OFF
        if not self._builds:
            return "nothing is open in which it could be built: that takes a session"
        problem = self._builds[-1].problem
        return problem and f"it cannot be built here: {problem}"

    async def _build(self, program: Program, aside: str, specs: frozenset[str]) -> None:
        """Let uv fetch until it asks for a build, have that done, and begin again."""
        until = time.monotonic() + self._timeout_s
        builds, folders = self._builds[-1], (aside, self._folders.downloads)
        builder = Builder(
            builds,
            self._uv,
            aside=aside,
            downloads=self._folders.downloads,
            specs=specs,
            run=lambda program: self._watched(program, aside, specs),
            left_s=lambda: until - time.monotonic(),
        )
        know = await _in_thread(self._uv.know_python, aside, timeout_s=self._timeout_s)
        self._check_end(await self._watched(know, aside, specs), specs)
        program = builds.fetching(program, readable=self._uv.readable, writable=folders)
        while True:
            program = replace(program, timeout_s=max(until - time.monotonic(), 0.001))
            end = await self._watched(program, aside, specs)
            source = unbuilt(end.stderr.decode(errors="replace")) if end.exit_code else None
            if source is None:
                self._check_end(end, specs)
                return
            await builder.build(source)

    async def _compile(self, aside: str, specs: frozenset[str]) -> None:
        """Make the bytecode that sessions could not keep. What does not compile is left alone."""
        await _in_thread(reuse_bytecode, site_of(aside), await _in_thread(self._folders.newest))
        end = await self._watched(self._uv.compile(aside, timeout_s=self._timeout_s), aside, specs)
        if end.timed_out:
            self._check_end(end, specs)

    async def _watched(self, program: Program, aside: str, specs: frozenset[str]) -> ProgramEnd:
        """Run a program, and end it once it has written more than is allowed."""
        written = partial(tree_size, self._folders.downloads, aside)
        limit = await _in_thread(written) + self._max_mb * MIB
        folders = (os.path.join(aside, "work"), aside, self._folders.downloads)

        async def is_over() -> bool:
            return await _in_thread(written) > limit

        end = await watched(self._run(program, folders), is_over)
        if end is None:
            raise failed(_names(specs), f"it takes more than {self._max_mb:,} MB")
        return end

    def _check_end(
        self, end: ProgramEnd, specs: frozenset[str], no_build: str = BUILDS_OFF
    ) -> None:
        """Raise DepInstallError unless uv did all that was asked of it."""
        said = end.stderr.decode(errors="replace")
        if end.exit_code == 0 and not end.timed_out:
            error = unknown_extra(said, specs)
        elif end.timed_out:
            error = failed(_names(specs), f"it took longer than {self._timeout_s:g} s")
        elif end.exit_code is None:
            error = failed(_names(specs), f"uv could not be started: {end.reason}")
        elif end.exit_code == -signal.SIGXFSZ:
            error = failed(_names(specs), f"it has a file of more than {self._max_mb:,} MB")
        elif end.exit_code < 0:
            error = failed(_names(specs), f"uv was ended by signal {-end.exit_code}")
        else:
            error = install_error(said, specs, no_build=no_build)
        if error is not None:
            log.warning(
                "%s; uv (exit code %s) said:\n%s", error.message, end.exit_code, plain(said)
            )
            raise error


def _normal(specs: Collection[str]) -> frozenset[str]:
    return frozenset(parse_spec(spec).text for spec in specs)


def _check_constraints(constraints: Collection[str]) -> None:
    for line in constraints:
        if not RESOLVED.fullmatch(line):
            raise InvalidDepError(f"the constraint {quoted(line)} is not of the form name==version")


def _names(specs: Collection[str]) -> str:
    return ", ".join(sorted(filter(None, map(name_of, specs))))


async def _in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run ``work`` in a thread. A cancelled caller waits for its end: nothing goes on behind it."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.gather(thread, return_exceptions=True)
        raise
