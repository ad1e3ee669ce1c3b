"""The context that all parts of one worker share: its options, its slots, its metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kuber_cron.common.clock import Clock
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.worker.coordination.claim_pause import ClaimPause
from kuber_cron.worker.coordination.slots import Slots
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.output.log_retention import LogRetention


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of one worker.

    Attributes:
        keys: The names of Redis' keys.
        queues: In the order of preference; each one's ``-low`` list is served after all of them.
        slots: How many commands may run at once.
        ttl_seconds: How long the worker counts as alive after a heartbeat.
        log_dir: Where log files are kept; None for none.
        environ: What commands inherit, less our own variables.
        signing_keys: Any of them may have signed a run; without one unsigned runs are executed too.
        user_required: Refuse a command where the worker cannot become its user.
        redact: Patterns of the variables whose values are hidden in outputs, the log files aside.
        retention: Each job's quota of log files.
    """

    keys: Keys
    queues: Sequence[str] = ("default",)
    slots: int = 4
    ttl_seconds: float = 15.0
    log_dir: Path | None
    environ: Mapping[str, str]
    signing_keys: Sequence[bytes] = ()
    user_required: bool = False
    redact: Sequence[str] = ()
    retention: LogRetention = field(default_factory=LogRetention)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """One worker, as its parts see it.

    Attributes:
        name: Its name in Redis and in RQ.
        options: As it was started.
        slots: The attempts that run; every part may ask, from any thread.
        clock: Intervals for what is decided, the wall clock for what is recorded.
        metrics: The worker's own metrics.
        job_metrics: Those of attempts, which a scheduler in the same process shares.
        pause: Why nothing is claimed.
        outage: The log of what all its loops find of Redis.
    """

    name: str
    options: WorkerOptions
    slots: Slots
    clock: Clock
    metrics: WorkerMetrics
    job_metrics: JobMetrics
    pause: ClaimPause
    outage: OutageLog
