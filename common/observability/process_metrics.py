"""The metric registry of a process: its CPU use, memory, descriptors, threads and garbage collection.

Nothing is registered globally, so a process may hold several registries.
"""

import contextlib
import threading
from collections.abc import Iterator

import prometheus_client
import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kuber_cron.common.clock import Clock, SystemClock

_MIN_INTERVAL_SECONDS = 1.0


class CpuCollector(Collector):
    """``cron_cpu_usage_percent``: this process, its running children, and those that ended since the last scrape.

    Percent of one CPU, so four busy cores are 400. The value is the average since the scrape before, or since this
    object was made; a scrape within a second of another repeats its value. A grandchild that its parent abandoned
    leaves the sum, and macOS does not report what ended children used.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._process = psutil.Process()
        self._measuring = threading.Lock()
        self._measured_at = self._clock.elapsed()
        self._used_seconds = self._cpu_seconds()
        self._percent = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauge, by the CPU time used since the measurement before."""
        with self._measuring:
            now = self._clock.elapsed()
            elapsed = now - self._measured_at
            if elapsed >= _MIN_INTERVAL_SECONDS:
                used = self._cpu_seconds()
                self._percent = max(0.0, 100 * (used - self._used_seconds) / elapsed)
                self._measured_at, self._used_seconds = now, used
            percent = self._percent
        yield GaugeMetricFamily(
            "cron_cpu_usage_percent",
            "CPU used by this process and its commands, percent of one CPU.",
            value=percent,
        )

    def _cpu_seconds(self) -> float:
        """Return the CPU seconds of the whole family. Those of ended children move from theirs into their parent's."""
        total = 0.0
        for process in (self._process, *self._process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total


def make_registry() -> CollectorRegistry:
    """Return a new registry with the metrics of this process."""
    # "_created" doubles the number of series, and no rule of ours asks for one. Process-wide, and idempotent.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # prometheus_client types it not
    registry = CollectorRegistry(auto_describe=True)
    registry.register(CpuCollector())
    prometheus_client.ProcessCollector(registry=registry)
    prometheus_client.PlatformCollector(registry=registry)
    prometheus_client.GCCollector(registry=registry)
    return registry
