"""The deps namespace: which packages agent code has, and the folder they are installed in."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection
from typing import Final

from packaging.utils import canonicalize_name

from py_code_mode.errors import (
    DepNotFoundError,
    DepsError,
    InvalidDepError,
    RuntimeDepsDisabledError,
)
from py_code_mode.packages.folders import PackageFolder, folder_key
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.packages.specs import name_of, parse_spec
from py_code_mode.services.operation import operation
from py_code_mode.store.base import DepStore, Resolutions
from py_code_mode.text import close_matches, one_line, quoted

log = logging.getLogger(__name__)

#: A run waits so long for the list, and then goes on with the packages there were.
_RUN_WAITS_S: Final = 0.25
#: A look that takes longer has failed; after one that failed there is a pause.
_LOOK_S: Final = 5.0
_PAUSE_S: Final = 3.0

# Annotations below a method called ``list`` need another name for the type.
Specs = list[str]


class DepsService:
    """Operations on the packages of one store; one service serves all sessions of a process.

    ``runtime_allowed=False`` refuses to add and to remove. ``preloaded`` names modules that are
    loaded for all sessions, which no package may replace. Without ``resolutions`` each host
    resolves versions for itself.
    """

    def __init__(
        self,
        store: DepStore,
        installer: PackageInstaller,
        *,
        runtime_allowed: bool,
        preloaded: Collection[str] = (),
        resolutions: Resolutions | None = None,
    ) -> None:
        self._store = store
        self._installer = installer
        self._runtime_allowed = runtime_allowed
        self._preloaded = frozenset(preloaded)
        self._resolutions = resolutions
        self._changing = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -math.inf
        self._away = False
        self._uses = 0
        self._last: PackageFolder | None = None
        self._last_specs: frozenset[str] = frozenset()
        self._failed: tuple[Specs, DepsError] | None = None

    @operation
    async def add(self, spec: str) -> Specs:
        """Install a package and keep it in the list; a spec of the same package is replaced.

        Args:
            spec: a name with extras and versions, like ``requests[socks]>=2.31,<3``.

        Returns:
            The whole list.

        Raises:
            InvalidDepError: the spec is a URL, a path, an option or something else of that kind.
            DepInstallError: names the package and the reason; nothing was changed.
            RuntimeDepsDisabledError: the operator does not let packages be changed here.
        """
        self._check_allowed()
        new = parse_spec(spec, preloaded=self._preloaded)
        async with self._changing:
            stored = await self._store.list()
            replaced = [old for old in stored if name_of(old) == new.name and old != new.text]
            specs = self._wanted([*(set(stored) - set(replaced)), new.text])
            folder = await self._install(specs)
            # Added before the old one goes: whoever looks in between never misses the package.
            await self._store.add(new.text)
            if replaced:
                await self._store.remove(*replaced)
            self._use(folder, specs)
            return await self.list()

    @operation
    async def remove(self, name: str) -> Specs:
        """Take a package off the list; what a session has imported of it stays imported.

        Args:
            name: of the package, or exactly what the list says of it.

        Returns:
            The rest of the list.

        Raises:
            DepNotFoundError: it is not in the list; names close matches.
            RuntimeDepsDisabledError: the operator does not let packages be changed here.
        """
        self._check_allowed()
        async with self._changing:
            stored = await self._store.list()
            gone = _matching(name, stored)
            await self._store.remove(*gone)
            # Also what cannot be installed must be removable, so that the rest may fail here.
            await self._try([spec for spec in stored if spec not in gone])
            return await self.list()

    @operation
    async def list(self) -> Specs:
        """Return the package specs, sorted."""
        return [one_line(spec) for spec in await self._store.list()]

    @operation
    async def sync(self) -> Specs:
        """Install what the list says, where it is not installed, and return ``name==version``.

        Raises:
            InvalidDepError, DepInstallError: name the package and the reason; packages stay as
                they were.
        """
        folder = await self._sync(await self._store.list())
        return [] if folder is None else [*folder.resolved]

    async def ensure(self) -> PackageFolder | None:
        """Install what the list says; a list that failed is tried again once it has changed.

        For what runs unasked: at start, and whenever another replica may have changed the list.
        Raises as ``sync``.
        """
        stored = await self._store.list()
        if self._failed is not None and self._failed[0] == stored:
            error = self._failed[1]
            raise type(error)(error.message, **error.fields)
        return await self._sync(stored)

    async def current(self, *, max_age_s: float = 0.0) -> PackageFolder | None:
        """Return the folder that sessions use now; None where no packages are to be had.

        It is that of the stored list if that is installed, else the last one there was: this
        installs nothing and does not fail. ``max_age_s`` is how old the answer may be; a change
        made through this service is never missed. A store that does not answer holds nobody up for
        long, and is asked again after a few seconds.
        """
        now = time.monotonic()
        due_s = max(max_age_s, _PAUSE_S) if self._away else max_age_s
        if self._looking is None and now - self._looked_at >= due_s:
            self._looked_at = now
            self._looking = asyncio.create_task(self._look_once())
        if self._looking is not None:
            # All who ask meanwhile share the look, and the time it may cost them.
            left_s = self._looked_at + _RUN_WAITS_S - now
            await asyncio.wait({self._looking}, timeout=max(0.0, left_s))
        return self._last

    @property
    def folder(self) -> str:
        """The path that ``current`` returned last, or that a change has led to; empty for none."""
        return "" if self._last is None else self._last.path

    @property
    def failure(self) -> DepsError | None:
        """Why the list could not be installed when that was tried last; None where it could."""
        return None if self._failed is None else self._failed[1]

    async def _look_once(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._look()
        except Exception as error:  # noqa: BLE001 - told; no run fails for it
            self._away = True
            reason = getattr(error, "message", "") or type(error).__name__
            log.warning("sessions keep the packages they have: %s", reason)
        else:
            self._away = False
        finally:
            self._looking = None

    async def _look(self) -> None:
        uses = self._uses
        try:
            wanted = self._wanted(await self._store.list())
        except InvalidDepError:
            wanted = self._last_specs  # ``sync`` and ``ensure`` say what is wrong
        if self._last is not None and wanted == self._last_specs:
            if await self._installer.holds(self._last) or uses != self._uses:
                return
            self._last = None
        found = None
        if wanted:
            constraints = await self._settled(folder_key(wanted))
            found = await self._installer.find(wanted, constraints=constraints)
        # What was changed here meanwhile is newer than what this look has read.
        if uses == self._uses and (found is not None or not wanted):
            self._use(found, wanted)

    async def _sync(self, stored: Specs) -> PackageFolder | None:
        try:
            specs = self._wanted(stored)
            folder = await self._install(specs)
        except DepsError as error:
            self._failed = (stored, error)
            raise
        self._use(folder, specs)
        return folder

    async def _try(self, stored: Specs) -> None:
        try:
            await self._sync(stored)
        except DepsError as error:
            log.warning("packages stay as they were: %s", error.message)

    async def _install(self, specs: frozenset[str]) -> PackageFolder | None:
        """Install a set with the versions that it has on every replica."""
        if not specs:
            return None
        key = folder_key(specs)
        settled = await self._settled(key)
        folder = await self._installer.install(specs, constraints=settled)
        if self._resolutions is not None and not settled:
            settled = await self._resolutions.settle(key, folder.resolved)
            # Another replica may have been first, with other versions.
            folder = await self._installer.install(specs, constraints=settled)
        return folder

    def _use(self, folder: PackageFolder | None, specs: frozenset[str]) -> None:
        self._last, self._last_specs, self._failed = folder, specs, None
        self._uses += 1

    async def _settled(self, key: str) -> tuple[str, ...]:
        return await self._resolutions.get(key) if self._resolutions is not None else ()

    def _wanted(self, stored: Collection[str]) -> frozenset[str]:
        """Return the normal forms of stored specs, which anybody may have written."""
        try:
            return frozenset(parse_spec(spec, preloaded=self._preloaded).text for spec in stored)
        except InvalidDepError as error:
            raise InvalidDepError(
                f"in the list of packages, {error.message}. Remove it with deps.remove(...)"
            ) from error

    def _check_allowed(self) -> None:
        if not self._runtime_allowed:
            raise RuntimeDepsDisabledError(
                "the operator does not let packages be added or removed at run time; "
                "deps.list() says which there are"
            )


def _matching(name: str, stored: Specs) -> Specs:
    """Return the specs that ``name`` stands for. Raises DepNotFoundError."""
    wanted = canonicalize_name(name)
    found = [spec for spec in stored if name in {spec, one_line(spec)} or name_of(spec) == wanted]
    if not found:
        known = sorted({name_of(spec) or one_line(spec) for spec in stored})
        raise DepNotFoundError(f"{quoted(name)} is not in the list{close_matches(name, known)}")
    return found
