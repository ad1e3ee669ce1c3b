"""The metrics of an election, whichever it is. docs/metrics.md lists them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_RENEW_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3)


class LeaseMetrics:
    """One object per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._renew = Histogram(
            "cron_lease_renew_seconds",
            "Seconds that a successful renewal of the lease took",
            buckets=_RENEW_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "cron_lease_renew_failures",
            "Attempts to get or renew the lease that failed",
            ["reason"],
            registry=registry,
        )
        self._failsafe = Gauge(
            "cron_failsafe",
            "1 while this scheduler leads past its lease because the API server is away",
            registry=registry,
        )

    def renewed(self, seconds: float) -> None:
        """Count a renewal that succeeded."""
        self._renew.observe(seconds)

    def failed(self, reason: str) -> None:
        """Count an attempt that failed. ``reason`` is a ``lease_rules.LeaseFailure``, or ``redis``."""
        self._failures.labels(reason).inc()

    def failsafe(self, *, on: bool) -> None:
        """Export if leadership rests on Redis alone."""
        self._failsafe.set(int(on))
