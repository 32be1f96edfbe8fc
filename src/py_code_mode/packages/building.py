"""Builds wheels of sources that uv fetched, in a jail that the workers lend."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from py_code_mode.errors import DepInstallError, WorkerStartError
from py_code_mode.models import MIB, Program, ProgramEnd
from py_code_mode.packages.command import UvCommand
from py_code_mode.packages.failures import build_error, failed_build, install_error
from py_code_mode.packages.folders import made_of, platform_key
from py_code_mode.packages.sources import Source, find_source, pack, take_wheel
from py_code_mode.text import quoted

_CHUNK: Final = 16 * MIB
_MAX_WHEEL_BYTES: Final = 48 * MIB
_MAX_ANSWER_BYTES: Final = MIB // 4
_MAX_REQUIREMENTS: Final = 100


class BuildJail(Protocol):
    """A jail for one build; see ``py_code_mode_guest/build.py`` for the steps."""

    async def step(
        self, *arguments: str, stdin: bytes = b"", timeout_s: float, max_output_bytes: int
    ) -> ProgramEnd:
        """Run one step to its end. Raises WorkerStartError."""


class Builds(Protocol):
    """Where packages are built, and how sources are fetched without anything of theirs running."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be built; None where it can."""

    def fetching(
        self, program: Program, *, readable: Sequence[str], writable: Sequence[str]
    ) -> Program:
        """Return the program so confined that it executes nothing and sees these folders alone."""

    def opened(self) -> AbstractAsyncContextManager[BuildJail]:
        """Give a jail that nothing else uses. Raises WorkerStartError."""


class Builder:
    """Builds what one installation needs. ``run`` runs uv, ``left_s`` says how long it may take.

    ``specs`` are named as what needs the package. A wheel that was built is kept among the
    ``downloads``, for other sets with the same source.
    """

    def __init__(
        self,
        builds: Builds,
        uv: UvCommand,
        *,
        aside: str,
        downloads: str,
        specs: Collection[str],
        run: Callable[[Program], Awaitable[ProgramEnd]],
        left_s: Callable[[], float],
    ) -> None:
        """Prepare; nothing is done yet."""
        self._builds = builds
        self._uv = uv
        self._aside = aside
        self._downloads = downloads
        self._kept = os.path.join(downloads, "built")
        self._specs = specs
        self._run = run
        self._left_s = left_s
        self._done: set[Source] = set()

    async def build(self, source: Source) -> None:
        """Put a wheel of ``source`` where uv finds it.

        Raises:
            DepInstallError: names the package and why its build failed.
        """
        if source in self._done:
            raise self._failed(source, "its build made a wheel that does not fit this platform")
        self._done.add(source)
        work = tempfile.mkdtemp(dir=self._aside)
        archive = os.path.join(work, "source.tar")
        folder = await asyncio.to_thread(find_source, self._downloads, source)
        if folder is None:
            raise self._failed(source, "its source is not where uv keeps them")
        key = f"{await asyncio.to_thread(pack, folder, archive)}-{platform_key()}"
        kept = os.path.join(self._kept, key)
        if not await asyncio.to_thread(os.path.isdir, kept):
            try:
                async with self._builds.opened() as jail:
                    name, content = await self._made(jail, source, work)
            except WorkerStartError as error:
                raise self._failed(source, f"it could not be built: {error.message}") from error
            await asyncio.to_thread(_keep, content, name, work, kept)
        await asyncio.to_thread(_copy_into, made_of(self._aside), kept)

    async def _made(self, jail: BuildJail, source: Source, work: str) -> tuple[str, bytes]:
        await self._send(jail, source, os.path.join(work, "source.tar"))
        declared = self._requirements(source, await self._step(jail, source, "declared"))
        await self._provide(jail, source, work, "requires-1", declared)
        asked = self._requirements(source, await self._step(jail, source, "asked", "requires-1"))
        provided = "requires-1"
        if not asked <= declared:
            provided = "requires-2"
            await self._provide(jail, source, work, provided, declared | asked)
        answer = await self._step(
            jail, source, "wheel", provided, max_output_bytes=_MAX_WHEEL_BYTES
        )
        try:
            return take_wheel(answer, source)
        except ValueError as error:
            raise self._failed(source, str(error)) from None

    async def _provide(
        self, jail: BuildJail, source: Source, work: str, name: str, requirements: frozenset[str]
    ) -> None:
        """Install what a build needs, from wheels and outside of the jail, and send it in."""
        folder = os.path.join(work, name)
        os.mkdir(folder)
        if requirements:
            program = self._uv.requirements(
                self._aside, folder, requirements, timeout_s=self._left_s()
            )
            end = await self._run(program)
            if end.exit_code != 0:
                said = end.stderr.decode(errors="replace")
                error = install_error(said, requirements)
                needs, why = error.fields["package"], error.fields["reason"]
                raise self._failed(source, f"its build needs {needs}: {why}")
        await asyncio.to_thread(pack, folder, f"{folder}.tar")
        await self._send(jail, source, f"{folder}.tar")

    async def _send(self, jail: BuildJail, source: Source, archive: str) -> None:
        with open(archive, "rb") as file:  # noqa: ASYNC230 - read in a thread below
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await self._step(jail, source, "receive", os.path.basename(archive), stdin=chunk)

    async def _step(
        self,
        jail: BuildJail,
        source: Source,
        *arguments: str,
        stdin: bytes = b"",
        max_output_bytes: int = _MAX_ANSWER_BYTES,
    ) -> bytes:
        end = await jail.step(
            *arguments,
            stdin=stdin,
            timeout_s=max(self._left_s(), 0.001),
            max_output_bytes=max_output_bytes,
        )
        error = build_error(end, source.name, self._specs)
        if error is not None:
            raise error
        return end.stdout

    def _requirements(self, source: Source, answer: bytes) -> frozenset[str]:
        """Return requirements that a project, or its backend, has said, as specs for uv."""
        try:
            said = json.loads(answer)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, list) or len(said) > _MAX_REQUIREMENTS:
            raise self._failed(source, "its build asks for what is no list of packages")
        try:
            return frozenset(filter(None, map(_requirement, said)))
        except ValueError as error:
            raise self._failed(source, str(error)) from None

    def _failed(self, source: Source, reason: str) -> DepInstallError:
        return failed_build(source.name, reason, self._specs)


def _requirement(text: object) -> str | None:
    """Return one requirement in normal form; None where its marker says that it is not needed."""
    try:
        parsed = Requirement(text) if isinstance(text, str) else None
    except InvalidRequirement:
        parsed = None
    if parsed is None or parsed.url or "===" in str(parsed.specifier):
        raise ValueError(f"its build asks for {quoted(text)}, which is not accepted")
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return None
    extras = f"[{','.join(sorted(map(canonicalize_name, parsed.extras)))}]" if parsed.extras else ""
    return f"{canonicalize_name(parsed.name)}{extras}{parsed.specifier}"


def _keep(content: bytes, name: str, work: str, kept: str) -> None:
    """Keep a wheel, in one step; another installer cannot be here, as there is one lock."""
    made = os.path.join(work, "made")
    os.mkdir(made)
    with open(os.path.join(made, name), "xb") as file:
        file.write(content)
    os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
    os.rename(made, kept)


def _copy_into(folder: str, kept: str) -> None:
    for name in os.listdir(kept):
        shutil.copyfile(os.path.join(kept, name), os.path.join(folder, name))
