"""``Session``: one local session, for programs that use the library."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, Literal

from py_code_mode._version import __version__
from py_code_mode.errors import ConfigurationError, SessionClosedError
from py_code_mode.models import Event, Limits, RunResult
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.search.embedder import Embedder
from py_code_mode.services.registry import Services
from py_code_mode.services.search import Fallback
from py_code_mode.sessions.doors import Doors
from py_code_mode.sessions.manager import SessionManager, check_session_id, new_session_id
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.workers.builds import Builds
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig

log = logging.getLogger(__name__)

Sandbox = Literal["auto", "off"]

#: Modules of the standard library that most agent code uses, loaded once in the zygote.
PRELOAD: Final = (
    "argparse", "asyncio", "base64", "collections", "csv", "dataclasses", "datetime", "decimal",
    "functools", "hashlib", "inspect", "itertools", "json", "logging", "math", "pathlib", "random",
    "re", "statistics", "string", "tempfile", "textwrap", "threading", "typing", "urllib.parse",
    "uuid",
)  # fmt: skip


class Session(Doors):
    """A persistent, sandboxed Python session on this machine.

    Use it with ``async with``. Variables persist from run to run; tools, skills, artifacts and the
    list of packages live in ``storage`` and outlive the session. Reads nothing from the
    environment.

    Args:
        storage: where everything is kept that outlives the session.
        session_id: a name for it; by default one that cannot be guessed.
        sync_deps_on_start: install the stored list of packages before the first run.
        allow_runtime_deps: whether packages may be added and removed.
        limits: what the session may use.
        sandbox: ``off`` runs code that is trusted without any enforcement.
        preload: modules to load once before workers are forked (numpy, pandas …).
        installer: where packages come from and are kept; by default the index that uv uses, and a
            folder of this user's below the temporary one.
        tool_variables: values for the ``${TOOL_…}`` of tool files; no others are used.
        embedder: what searches go by (``choose_embedder``); by default the table that is included.
        search_fallback: ``lexical`` lets searches go by words while the embedder fails.
        egress_allow: where agent code may connect to, as ``api.github.com:443`` or
            ``*.example.org:443``; by default nowhere.

    Example:
        >>> async with Session.from_base("./.code-mode") as session:
        ...     result = await session.run("1 + 1")
        >>> result.value
        2
    """

    _opening: AsyncExitStack

    def __init__(
        self,
        storage: Store,
        *,
        session_id: str | None = None,
        sync_deps_on_start: bool = False,
        allow_runtime_deps: bool = True,
        limits: Limits | None = None,
        sandbox: Sandbox = "auto",
        preload: tuple[str, ...] = (),
        installer: PackageInstaller | None = None,
        tool_variables: Mapping[str, str] | None = None,
        embedder: Embedder | None = None,
        search_fallback: Fallback | None = None,
        egress_allow: Sequence[str] = (),
    ) -> None:
        """Prepare a session; nothing is started before ``async with``.

        Raises ConfigurationError, InvalidSessionIdError for arguments that cannot work.
        """
        if sandbox not in ("auto", "off"):
            raise ConfigurationError(f'sandbox is "auto" or "off", not {sandbox!r}')
        self.storage = storage
        self.session_id = check_session_id(session_id) if session_id else new_session_id()
        self._sync_deps_on_start = sync_deps_on_start
        self._limits = replace(limits or Limits(), pool_size=0)
        self._sandbox = sandbox
        self._egress = EgressPolicy.parse(egress_allow) if egress_allow else None
        self._preload = (*PRELOAD, *preload)
        self._services = Services(
            storage,
            limits=self._limits,
            installer=installer,
            runtime_deps_allowed=allow_runtime_deps,
            preloaded=preload,
            tool_variables=tool_variables,
            embedder=embedder,
            search_fallback=search_fallback,
        )
        self._manager: SessionManager | None = None

    @classmethod
    def from_base(cls, base_path: str | os.PathLike[str], **options: Any) -> Session:
        """Return a session on the files of a folder: ``skills/``, ``artifacts/`` and so on."""
        return cls(FileStorage(base_path=base_path), **options)

    async def __aenter__(self) -> Session:
        if self._manager is not None:
            raise SessionClosedError("this session is already open")
        await self.storage.check()
        config = ZygoteConfig(
            root=os.path.join(tempfile.gettempdir(), "py-code-mode"),
            limits=self._limits,
            preload=self._preload,
            readable=(self._services.installer.readable_folder(),),
            enforce=self._sandbox == "auto",
        )
        pool = Pool(config, egress=self._egress)
        manager = SessionManager(pool=pool, services=self._services, limits=self._limits)
        builds = Builds(pool, disk_mb=self._limits.disk_mb)
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(manager)
            opening.enter_context(self._services.installer.building_in(builds))
            if self._sync_deps_on_start:
                await self._services.deps.ensure()
            self._opening = opening.pop_all()
        self._manager = manager
        if self._sandbox == "off":
            log.warning("sandbox is off: agent code runs with all rights of this process")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._manager is not None:
            self._manager = None
            await self._opening.aclose()
        await self.storage.aclose()

    def __repr__(self) -> str:
        state = "open" if self._manager is not None else "closed"
        off = ", sandbox off" if self._sandbox == "off" else ""
        return f"<Session {self.session_id} on {self.storage.describe()}, {state}{off}>"

    async def run(self, code: str, timeout: float | None = None) -> RunResult:
        """Run Python and return what it came to; ``timeout`` in seconds.

        User code that fails, hangs or kills its process is a result, not an exception.

        Raises:
            InvalidArgumentError, CodeTooLargeError, TimeoutTooLargeError: before anything runs.
            SessionBusyError: when too many runs wait.
            SessionClosedError: outside of ``async with``.
        """
        return await self._opened().run(self.session_id, code, timeout_s=timeout)

    async def stream(self, code: str, timeout: float | None = None) -> AsyncIterator[Event]:
        """Run Python and yield its events as they happen; the last one is ``result``.

        A consumer that stops early interrupts the run.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        run = asyncio.create_task(
            self._opened().run(self.session_id, code, timeout_s=timeout, on_event=events.put_nowait)
        )
        run.add_done_callback(lambda _: events.put_nowait(Event("result", None)))
        try:
            while (event := await events.get()).kind != "result":
                yield event
            yield Event("result", await run)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    async def interrupt(self) -> bool:
        """Stop the run under way as its deadline would; False when there is none."""
        manager = self._opened()
        return manager.knows(self.session_id) and await manager.interrupt(self.session_id)

    async def reset(self) -> None:
        """Clear the variables and the work folder; skills and artifacts stay."""
        manager = self._opened()
        if manager.knows(self.session_id):
            await manager.reset(self.session_id)

    async def info(self) -> dict[str, Any]:
        """Return what this session can do: tools, skills, packages, limits, sandbox in force."""
        manager = self._opened()
        kernel = manager.pool.kernel
        return {
            "version": __version__,
            "storage": self.storage.describe(),
            "tools": [dict(tool) for tool in await self.list_tools()],
            "skills": [dict(skill) for skill in await self.list_skills()],
            "packages": await self.list_deps(),
            "sandbox": {
                "tier": manager.pool.tier,
                "landlock_abi": kernel.landlock,
                "seccomp": kernel.seccomp and self._sandbox == "auto",
                "own_uids": kernel.own_uid,
            },
            "limits": {
                "execution_timeout_s": self._limits.execution_timeout_s,
                "memory_mb": self._limits.memory_mb,
                "disk_mb": self._limits.disk_mb,
                "max_output_bytes": self._limits.max_output_bytes,
            },
        }

    async def _call(self, namespace: str, operation: str, **arguments: Any) -> Any:
        return await self._services.api.call(namespace, operation, [], arguments)

    def _opened(self) -> SessionManager:
        if self._manager is None:
            raise SessionClosedError("this session is not open; use `async with Session(...)`")
        return self._manager
