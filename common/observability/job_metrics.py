"""The metrics of jobs that both tiers have, under the names that users know (spec: architecture.md, Metrics).

Labels are job names and closed sets, never a command. Above ``max_jobs`` different jobs the rest is counted
as ``job="_other"``, so that a scrape stays small. A histogram for each job would not (10,000 jobs: 26 MB a
scrape): histograms carry the queue, a job has a sum, a count and its last duration.
"""

import threading
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

OTHER = "_other"
_LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300)


class JobLabels:
    """A bound on the number of different job labels; safe from several threads."""

    def __init__(self, max_jobs: int) -> None:
        self._max = max_jobs
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def label(self, job: str) -> str:
        """Return the job's label, or ``_other`` once ``max_jobs`` different ones are known."""
        if job in self._known:
            return job
        with self._lock:
            if len(self._known) >= self._max:
                return OTHER
            self._known.add(job)
            return job


class JobMetrics:
    """Counters of attempts. One object per registry: under ``run`` both tiers share it."""

    def __init__(self, registry: CollectorRegistry, *, max_jobs: int = 2000) -> None:
        self.labels = JobLabels(max_jobs)
        self._executions = Counter(
            "cron_job_executions", "Ended attempts", ["job", "outcome"], registry=registry
        )
        self._failures = Counter(
            "cron_job_failures",
            "Ended attempts that were neither a success nor interrupted",
            ["job", "reason"],
            registry=registry,
        )
        self._retries = Counter(
            "cron_job_retries", "Attempts queued by the retry policy", ["job"], registry=registry
        )
        self._recoveries = Counter(
            "cron_job_recoveries",
            "Runs attempted again after a lost or interrupted attempt",
            ["job"],
            registry=registry,
        )
        self._duration = Summary(
            "cron_job_duration_seconds", "Seconds an attempt ran", ["job"], registry=registry
        )
        self._last_duration = Gauge(
            "cron_job_last_duration_seconds", "Seconds the job's last attempt ran", ["job"], registry=registry
        )
        self._running = Gauge("cron_job_running", "Attempts that run here now", ["job"], registry=registry)
        self._max_rss = Gauge(
            "cron_job_max_rss_bytes",
            "Largest resident size in the job's last attempt",
            ["job"],
            registry=registry,
        )
        self._cpu = Counter(
            "cron_job_cpu_seconds", "CPU seconds that attempts used", ["job"], registry=registry
        )
        self.start_latency = Histogram(
            "cron_job_start_latency_seconds",
            "Seconds from queued to started",
            ["queue"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.lateness = Histogram(
            "cron_job_schedule_lateness_seconds",
            "Seconds from an instant being due to its run being queued",
            ["queue"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )

    def expect_runs_of(self, queues: Iterable[str]) -> None:
        """Create the histograms of these queues at zero, so that the first late run is seen to be an increase.

        A new leader decides the latest instants of all within its first second, before anybody has scraped it.
        """
        for queue in queues:
            self.lateness.labels(queue)

    def expect_starts_from(self, queues: Iterable[str]) -> None:
        """Create the histograms of starts from these queues at zero."""
        for queue in queues:
            self.start_latency.labels(queue)

    def attempt_started(self, job: str, *, recovered: bool) -> None:
        """Count an attempt that runs from now on."""
        label = self.labels.label(job)
        self._running.labels(label).inc()
        if recovered:
            self._recoveries.labels(label).inc()

    def attempt_ended(
        self,
        job: str,
        outcome: str,
        *,
        duration: float | None = None,
        cpu_seconds: float = 0.0,
        max_rss_bytes: int | None = None,
    ) -> None:
        """Count an attempt that has ended. ``outcome`` is one of interface.md's; ``duration`` None where it never ran here."""
        label = self.labels.label(job)
        self._executions.labels(label, outcome).inc()
        if outcome not in {"success", "interrupted"}:
            self._failures.labels(label, outcome).inc()
        if duration is None:
            return
        self._running.labels(label).dec()
        self._duration.labels(label).observe(duration)
        self._last_duration.labels(label).set(duration)
        self._cpu.labels(label).inc(max(0.0, cpu_seconds))
        if max_rss_bytes is not None:
            self._max_rss.labels(label).set(max_rss_bytes)

    def attempt_forgotten(self, job: str) -> None:
        """Drop an attempt that ran here and does not count, because the run belongs to another worker."""
        self._running.labels(self.labels.label(job)).dec()

    def retry_queued(self, job: str) -> None:
        """Count a run that will be attempted again by its retry policy."""
        self._retries.labels(self.labels.label(job)).inc()
