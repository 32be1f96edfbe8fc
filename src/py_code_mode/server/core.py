"""What all requests share: the store, the services, the sessions, and how they start and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from py_code_mode._version import __version__
from py_code_mode.errors import CodeModeError, DepsError, DrainingError
from py_code_mode.models import RunResult
from py_code_mode.packages.installer import PackageInstaller
from py_code_mode.search.choose import choose_embedder
from py_code_mode.server.executions import Executions
from py_code_mode.server.metrics import Metrics
from py_code_mode.server.transfers import Transfers
from py_code_mode.services.registry import Services
from py_code_mode.sessions.manager import SessionManager
from py_code_mode.sessions.others import Others
from py_code_mode.sessions.records import SessionRecords
from py_code_mode.sessions.session import PRELOAD
from py_code_mode.settings import Settings
from py_code_mode.store.base import Store
from py_code_mode.store.file import FileStorage
from py_code_mode.store.overlay import OverlayStorage
from py_code_mode.store.redis_extra import redis_storage
from py_code_mode.workers.builds import Builds
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.launcher import Launcher
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig

log = logging.getLogger(__name__)

#: How long a record outlives the session's idle time, so that its next run is told of the loss.
_REMEMBERED_S: Final = 24 * 3600.0
_DEPS_PERIOD_S: Final = 5.0
_FLUSH_S: Final = 5.0
_CHECK_EVERY_S: Final = 1.0


class Core:
    """One server: open it, hand it to the routes, drain it, close it."""

    def __init__(self, settings: Settings, *, launcher: Launcher | None = None) -> None:
        """Put everything together; nothing is started. Raises ConfigurationError."""
        self.settings = settings
        self._launcher = launcher
        self.limits = settings.limits()
        self.replica = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.started_at = time.monotonic()
        self.store = _open_store(settings)
        self.services = _make_services(settings, self.store)
        self._egress = EgressPolicy.parse(settings.egress_allow) if settings.egress_allow else None
        self.records = SessionRecords(
            self.store.records,
            replica=self.replica,
            ttl_s=settings.session_idle_timeout_s + _REMEMBERED_S,
        )
        self.executions = Executions(
            self.store.records, replica=self.replica, max_output_bytes=settings.max_output_bytes
        )
        self.manager: SessionManager
        self.metrics = Metrics(self)
        self.transfers = Transfers(self.store.artifacts, max_bytes=settings.max_artifact_bytes)
        self.draining = False
        self.deps_synced = False
        self.active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._checked_at = -_CHECK_EVERY_S
        self._store_problem: str | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Core]:
        """Run the server's parts. Raises CodeModeError where it cannot work at all."""
        await self.store.check()
        pool = Pool(
            ZygoteConfig(
                root=_work_folder(self.settings, "sessions"),
                limits=self.limits,
                preload=(*PRELOAD, *self.settings.preload),
                readable=(self.services.installer.readable_folder(),),
                enforce=self.settings.sandbox == "auto",
                launcher=self._launcher,
            ),
            min_tier=self.settings.min_sandbox_tier,
            egress=self._egress,
        )
        manager = SessionManager(
            pool=pool,
            services=self.services,
            limits=self.limits,
            records=self.records,
            others=Others(self.store.records, replica=self.replica),
        )
        builds = Builds(pool, disk_mb=self.limits.disk_mb)
        async with manager:
            self.manager = manager
            if self.settings.deps_allow_build and builds.problem is not None:
                log.error("packages cannot be built from source: %s", builds.problem)
            work = [asyncio.create_task(each()) for each in (self._sync_deps, self._beat)]
            log.info("sessions run in sandbox tier %s", pool.tier)
            try:
                with self.services.installer.building_in(builds):
                    yield self
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
                await self.executions.aclose()
                await self.records.flush(_FLUSH_S)
        await self.store.aclose()

    @contextlib.contextmanager
    def working(self) -> Any:
        """Count a request that a drain waits for. Raises DrainingError while draining."""
        self.refuse_while_draining()
        self.active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()

    def refuse_while_draining(self) -> None:
        """Raise DrainingError while draining."""
        if self.draining:
            raise DrainingError("this server is about to end; send the request again, to another")

    async def drain(self) -> None:
        """Refuse new work, and wait for what runs, as long as the settings say."""
        self.draining = True
        log.info("draining: %d requests are under way", self.active)
        try:
            await asyncio.wait_for(self._idle.wait(), self.settings.drain_timeout_s)
        except TimeoutError:
            log.warning("%d requests were still under way when the drain ended", self.active)
        await self.records.flush(_FLUSH_S)

    async def problems(self) -> dict[str, str]:
        """Return why the server cannot do its work now, by code; empty where it can."""
        found: dict[str, str] = {}
        if self.draining:
            found["draining"] = "the server is about to end"
        store_problem = await self._look_at_store()
        if store_problem is not None:
            found["storage_unavailable"] = store_problem
        if not self.manager.pool.alive:
            self.manager.pool.refill(least=1)  # no request may come that would do it
            found["worker_start"] = "sessions cannot be started; the log says why"
        failure = self.services.deps.failure
        if failure is not None:
            found["deps_failed"] = failure.message
        elif not self.deps_synced:
            found["deps_syncing"] = "the stored packages are being installed"
        return found

    async def info(self) -> dict[str, Any]:
        """Return what agent code can do here."""
        api, pool = self.services.api, self.manager.pool
        listings = [("tools", "list"), ("skills", "list"), ("deps", "list")]
        tools, skills, packages = [await api.call(*each, [], {}) for each in listings]
        return {
            "tools": [dict(tool) for tool in tools],
            "skills": [dict(skill) for skill in skills],
            "artifacts_path": self.settings.artifacts_path or None,
            "packages": packages,
            "sandbox": {
                "tier": pool.tier,
                "landlock_abi": pool.kernel.landlock,
                "seccomp": pool.kernel.seccomp and self.settings.sandbox == "auto",
                "own_uids": pool.kernel.own_uid,
            },
            "limits": {
                "execution_timeout_s": self.limits.execution_timeout_s,
                "max_execution_timeout_s": self.limits.max_execution_timeout_s,
                "memory_mb": self.limits.memory_mb,
                "disk_mb": self.limits.disk_mb,
                "max_output_bytes": self.limits.max_output_bytes,
                "max_code_bytes": self.limits.max_code_bytes,
                "max_tool_calls": self.limits.max_tool_calls,
            },
            "version": __version__,
        }

    def note(self, result: RunResult) -> None:
        """Count a run's end."""
        self.metrics.note_run(result)

    def note_error(self, error: CodeModeError) -> None:
        """Count an answer that is an error where it is the store's."""
        if error.code == "storage_unavailable":
            self.metrics.note_store_error()

    async def _look_at_store(self) -> str | None:
        """Ask the store at most once a second, whoever asks us."""
        if time.monotonic() - self._checked_at >= _CHECK_EVERY_S:
            self._checked_at = time.monotonic()
            try:
                await self.store.check()
                self._store_problem = None
            except CodeModeError as error:
                self._store_problem = error.message
        return self._store_problem

    async def _sync_deps(self) -> None:
        """Install what the store lists, at start and whenever the list has changed."""
        said = ""
        while True:
            try:
                await self.services.deps.ensure()
                self.deps_synced, said = True, ""
            except DepsError as error:
                if error.message != said:
                    log.error("the stored packages: %s", error.message)  # noqa: TRY400 - no bug
                said = error.message
            except CodeModeError as error:
                log.warning("the list of packages cannot be read: %s", error.message)
            await asyncio.sleep(_DEPS_PERIOD_S)

    async def _beat(self) -> None:
        await self.executions.beat()


def _open_store(settings: Settings) -> Store:
    store = _open_own_store(settings)
    return OverlayStorage(store, settings.config_path) if settings.config_path else store


def _open_own_store(settings: Settings) -> Store:
    if settings.storage_path:
        return FileStorage(settings.storage_path)
    return redis_storage()(
        settings.redis_url,
        prefix=settings.redis_prefix,
        artifacts_path=settings.artifacts_path or None,
        inline_max=settings.artifact_inline_max,
        max_store_mb=settings.max_store_mb or None,
        store_timeout_s=settings.store_timeout_s,
        allow_insecure=settings.allow_insecure_redis,
    )


def _make_services(settings: Settings, store: Store) -> Services:
    return Services(
        store,
        limits=settings.limits(),
        installer=PackageInstaller(
            _work_folder(settings, "packages"),
            environ=settings.installer_variables,
            allow_build=settings.deps_allow_build,
        ),
        runtime_deps_allowed=settings.allow_runtime_deps,
        skill_writes_allowed=settings.allow_skill_writes,
        preloaded=settings.preload,
        tool_variables=settings.tool_variables,
        embedder=choose_embedder(
            settings.embeddings, {"EMBEDDINGS_API_KEY": settings.embeddings_api_key}
        ),
        search_fallback=settings.search_fallback,
        audit_args=settings.audit_args,
    )


def _work_folder(settings: Settings, name: str) -> str:
    # Absolute: the zygote has another folder than this process.
    base = os.path.abspath(settings.work_dir or tempfile.gettempdir())
    return os.path.join(base, f"py-code-mode-{name}-{os.geteuid()}")
