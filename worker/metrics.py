"""The worker's own metrics, beside those of attempts that both tiers share (spec: architecture.md, Metrics)."""

from collections.abc import Callable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

PauseReason = Literal["resources", "log", "user", "newer"]
"""Why a worker claims nothing: it lacks processes, descriptors or memory; the directory of log files; the user that a job
names; or its version is too old for what waits."""
PAUSE_REASONS: tuple[PauseReason, ...] = get_args(PauseReason)


class WorkerMetrics:
    """The slots, runs that could not be read, errors, and output that was lost."""

    def __init__(self, registry: CollectorRegistry, *, slots: int, alone: bool) -> None:
        """``alone``: no scheduler shares the registry, so the worker has the gauge of Redis too."""
        Gauge("cron_worker_slots", "Commands that may run at once", registry=registry).set(slots)
        self._busy = Gauge("cron_worker_slots_busy", "Commands that run now", registry=registry)
        self.quarantined = Counter(
            "cron_quarantined", "Runs that could not be read or verified", ["reason"], registry=registry
        )
        for reason in ("malformed", "unsigned", "signature"):  # at 0, so that the first one is an increase
            self.quarantined.labels(reason)
        self.dropped = Counter(
            "cron_claims_dropped",
            "Claimed ids that were not started: deleted, ended or taken meanwhile",
            registry=registry,
        )
        self.errors = Counter(
            "cron_worker_errors", "Turns of the worker's loops that failed unexpectedly", registry=registry
        )
        self.log_dropped = Counter(
            "cron_log_dropped_bytes",
            "Bytes of output missing in log files (limit, disk) or on the worker's own stdout (reader)",
            ["reason"],
            registry=registry,
        )
        for reason in ("limit", "disk", "reader"):
            self.log_dropped.labels(reason)
        self.log_trimmed = Counter(
            "cron_log_trimmed_files", "Old log files deleted for their job's quota", registry=registry
        )
        self._redis_up = (
            Gauge("cron_redis_up", "1 while Redis answers this worker", registry=registry) if alone else None
        )

        self._claims_paused = Gauge(
            "cron_worker_claims_paused",
            "1 while this worker claims nothing, because it could not start what it claims",
            ["reason"],
            registry=registry,
        )
        self.returned = Counter(
            "cron_worker_returned_runs",
            "Runs given back to their queues, because this worker could not start them",
            ["reason"],
            registry=registry,
        )
        for reason in PAUSE_REASONS:
            self.returned.labels(reason)
        self.claims_paused(None)

    def claims_paused(self, reason: str | None) -> None:
        """Record why nothing is claimed; None where claiming goes on."""
        for each in PAUSE_REASONS:
            self._claims_paused.labels(each).set(int(each == reason))

    def busy_from(self, count: Callable[[], int]) -> None:
        """Take the number of busy slots from ``count`` at each scrape."""
        self._busy.set_function(count)

    def redis_is(self, *, up: bool) -> None:
        """Record that Redis answered, or did not."""
        if self._redis_up is not None:
            self._redis_up.set(int(up))
