"""Figures for Prometheus: counted as things happen, or looked up when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from py_code_mode.models import RunResult

if TYPE_CHECKING:
    from py_code_mode.server.core import Core

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 360)


class Metrics:
    """The figures of one server."""

    def __init__(self, core: Core) -> None:
        self._registry = CollectorRegistry()
        self._runs = Counter(
            "pycodemode_runs", "Runs by how they ended", ["outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "pycodemode_run_seconds",
            "Time that runs took",
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._requests = Counter(
            "pycodemode_requests", "Requests by status", ["status"], registry=self._registry
        )
        self._store_errors = Counter(
            "pycodemode_store_errors", "Answers that the store made fail", registry=self._registry
        )
        self._registry.register(_Looked(core))

    def note_run(self, result: RunResult) -> None:
        """Count a run."""
        self._runs.labels(_outcome(result)).inc()
        self._seconds.observe(result.execution_time_ms / 1000)

    def note_request(self, status: int) -> None:
        """Count an answer."""
        self._requests.labels(str(status)).inc()

    def note_store_error(self) -> None:
        """Count an answer that failed for the store."""
        self._store_errors.inc()

    def text(self) -> bytes:
        """Return all figures in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Looked:
    """Figures that are looked up when they are asked for."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        manager = getattr(self._core, "manager", None)
        if manager is None:
            return
        gauges = {
            "pycodemode_requests_active": ("Requests under way", self._core.active),
            "pycodemode_sessions": ("Sessions that hold a worker", manager.occupied),
            "pycodemode_runs_waiting": ("Runs that wait for their session", manager.waiting),
            "pycodemode_workers": ("Worker processes", len(manager.pool.workers)),
            "pycodemode_workers_ahead": ("Workers that wait for a session", manager.pool.ahead),
            "pycodemode_jails": ("Jail processes", len(manager.pool.jails.processes)),
        }
        for name, (about, value) in gauges.items():
            yield GaugeMetricFamily(name, about, value)
        deaths = CounterMetricFamily(
            "pycodemode_worker_deaths", "Workers that ended, by cause", labels=["cause"]
        )
        for cause, count in manager.pool.deaths.items():
            deaths.add_metric([cause], count)
        yield deaths


def _outcome(result: RunResult) -> str:
    if result.error_type in {"ExecutionTimeoutError", "WorkerCrashed"}:
        return {"ExecutionTimeoutError": "timeout", "WorkerCrashed": "crash"}[result.error_type]
    return "ok" if result.is_ok else "error"
