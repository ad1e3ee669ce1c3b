"""The scheduler's metrics (spec: architecture.md, Metrics). docs/metrics.md lists them; a test compares.

Per-job instants, ``cron_job_info`` and queue gauges come from the leader alone: a standby's would double
every alert. ``cron_leader`` is 0 or 1 from every scheduler.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kuber_cron.common.observability.job_metrics import OTHER, JobMetrics
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.maintenance.redis_observer import RedisObservation

ACTIONS = ("trigger", "backfill", "stop", "retry", "pause", "resume", "release", "drop")
"""The actions of operators (common/redis_store/lua/lib/operator_log.lua)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerState:
    """The state of a scheduler, replaced as a whole.

    Attributes:
        epoch: Of the current term; None for a standby.
        next_runs: Each job's next instant, seconds since the epoch.
        gaps: Each job's longest distance between two runs, in seconds.
        expected: By when each job's next success is expected, seconds since the epoch.
        observation: The newest one of Redis; exported only in the term that it was made in.
        ahead_seconds: How far the farthest cursor is ahead of Redis' clock, after that has stepped back.
    """

    epoch: int | None = None
    catalog: Catalog | None = None
    next_runs: Mapping[str, float] = field(default_factory=dict)
    gaps: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)
    observation: RedisObservation = field(default_factory=RedisObservation)
    skew_seconds: float = 0.0
    ahead_seconds: float = 0.0
    transitions: int = 0
    redis_up: bool = True
    now: float = 0.0


class LastingCounts:
    """Counts by job and word as they are exported: a count that vanishes with its job stays in what this process exports.

    Otherwise the sum of the jobs above the limit would step back when one of them is forgotten, which Prometheus takes for
    a restart and counts all of them again.
    """

    def __init__(self, measures: JobMetrics) -> None:
        self._measures = measures
        self._seen: Mapping[tuple[str, str], int] = {}
        self._gone: dict[tuple[str, str], int] = {}
        self._exported: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def exported(self, counts: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
        """Return the counts by label and word, those of jobs above the limit together."""
        with self._lock:
            if counts is not self._seen:
                self._take(counts)
            return self._exported

    def _take(self, counts: Mapping[tuple[str, str], int]) -> None:
        for name in self._seen.keys() - counts.keys():
            key = self._key(name)
            self._gone[key] = self._gone.get(key, 0) + self._seen[name]
        out = dict(self._gone)
        for name, count in counts.items():
            key = self._key(name)
            out[key] = out.get(key, 0) + count
        self._seen, self._exported = counts, out

    def _key(self, name: tuple[str, str]) -> tuple[str, str]:
        job, word = name
        return self._measures.labels.label(job), word


class SchedulerMetrics(Collector):
    """Exports the newest ``SchedulerState`` and counts what happens once."""

    def __init__(self, registry: CollectorRegistry, jobs: JobMetrics) -> None:
        """``jobs``: the metrics by job that scheduler and worker have in common."""
        self._state = SchedulerState()
        self._lock = threading.Lock()
        self.jobs = jobs
        self._missed, self._ended = LastingCounts(jobs), LastingCounts(jobs)
        self._refresh: Callable[[SchedulerState], SchedulerState] = lambda state: state
        self.fenced = Counter("cron_fenced", "Batches refused for a larger epoch", registry=registry)
        self.state_lost = Counter(
            "cron_state_lost", "Times that Redis was found to have lost writes", registry=registry
        )
        self.loop_errors = Counter(
            "cron_scheduler_errors",
            "Turns of the scheduler's loops that failed unexpectedly",
            registry=registry,
        )
        registry.register(self)

    def on_scrape(self, refresh: Callable[[SchedulerState], SchedulerState]) -> None:
        """Let ``refresh`` fill in at each scrape what costs nothing to know (no Redis, no locks held long)."""
        self._refresh = refresh

    def update(self, **changes: object) -> None:
        """Replace parts of the state."""
        with self._lock:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type] # names and types are SchedulerState's

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families, as prometheus_client asks for them."""
        state = self._refresh(self._state)
        leads = state.epoch is not None
        yield _gauge("cron_leader", "1 where this scheduler leads", int(leads))
        yield _gauge("cron_leader_epoch", "Epoch of the term, 0 for a standby", state.epoch or 0)
        transitions = CounterMetricFamily("cron_leader_transitions", "Terms of leadership begun here")
        transitions.add_metric([], state.transitions)
        yield transitions
        yield _gauge("cron_redis_up", "1 while Redis answers this scheduler", int(state.redis_up))
        yield _gauge("cron_clock_skew_seconds", "Own wall clock less Redis'", state.skew_seconds)
        yield _gauge(
            "cron_clock_stepped_back_seconds",
            "How long nothing is decided for a job, since Redis' clock stepped back behind its cursor",
            state.ahead_seconds,
        )
        if state.catalog is not None:
            yield _gauge(
                "cron_config_valid",
                "0 while the files hold an error, or nothing any more",
                int(state.catalog.valid),
            )
            yield _gauge("cron_config_jobs", "Jobs loaded", len(state.catalog.entries))
            yield _gauge(
                "cron_config_reload_timestamp_seconds",
                "When the jobs in force were loaded",
                state.catalog.loaded_at.timestamp(),
            )
        if leads:
            yield from self._leader_metrics(state)

    def _leader_metrics(self, state: SchedulerState) -> Iterator[Metric]:
        entries = state.catalog.entries if state.catalog else {}
        yield self._per_job("cron_job_next_run_timestamp_seconds", "The job's next instant", state.next_runs)
        yield self._per_job(
            "cron_job_interval_seconds", "The schedule's longest gap between two runs", state.gaps
        )
        info = GaugeMetricFamily("cron_job_info", "The job's queue and team", labels=["job", "queue", "team"])
        for job, entry in entries.items():
            label = self.jobs.labels.label(job)
            if label != OTHER:
                info.add_metric([label, entry.job.queue, entry.job.team or ""], 1)
        yield info
        if state.observation.epoch == state.epoch:
            # Before its first observation, a new leader would export no workers, and counts from its last term.
            yield from self._jobs_as_observed(state)
            yield from _redis_as_observed(state)

    def _jobs_as_observed(self, state: SchedulerState) -> Iterator[Metric]:
        seen = state.observation
        ended = {job: run.ended_at for job, run in seen.jobs.items() if run.ended_at is not None}
        succeeded = {job: run.success_at for job, run in seen.jobs.items() if run.success_at is not None}
        yield self._per_job("cron_job_last_run_timestamp_seconds", "When the last run ended", ended)
        yield self._per_job(
            "cron_job_last_success_timestamp_seconds", "When the last successful run ended", succeeded
        )
        # These two also cover the jobs above the limit, together: none may fail unseen.
        failing = {job: float(run.is_failing) for job, run in seen.jobs.items()}
        yield self._per_job(
            "cron_job_failing", "1 while a run has failed for good since the last success", failing, sum
        )
        yield self._per_job(
            "cron_job_success_expected_timestamp_seconds",
            "By when the next success is expected, allowances included",
            state.expected,
            min,
        )
        missed = CounterMetricFamily(
            "cron_job_missed", "Instants that were not queued", labels=["job", "reason"]
        )
        for (job, reason), count in self._missed.exported(seen.missed).items():
            missed.add_metric([job, reason], count)
        yield missed
        runs = CounterMetricFamily(
            "cron_job_runs", "Runs that have ended for good, counted in Redis", labels=["job", "outcome"]
        )
        for (job, outcome), count in self._ended.exported(seen.ended).items():
            runs.add_metric([job, outcome], count)
        yield runs
        acts = CounterMetricFamily("cron_manual_actions", "What people have done by hand", labels=["action"])
        for action in ACTIONS:
            acts.add_metric([action], seen.acted.get(action, 0))
        yield acts

    def _per_job(
        self,
        name: str,
        text: str,
        values: Mapping[str, float],
        together: Callable[[Iterable[float]], float] | None = None,
    ) -> Metric:
        """``together`` makes one value of those of the jobs above the limit; without it they are left out."""
        family = GaugeMetricFamily(name, text, labels=["job"])
        others = []
        for job, value in values.items():
            label = self.jobs.labels.label(job)
            if label != OTHER:
                family.add_metric([label], value)
            else:
                others.append(value)
        if others and together is not None:
            family.add_metric([OTHER], together(others))
        return family


def _redis_as_observed(state: SchedulerState) -> Iterator[Metric]:
    seen = state.observation
    depth = GaugeMetricFamily("cron_queue_depth", "Runs that wait in the queue", labels=["queue"])
    oldest = GaugeMetricFamily(
        "cron_queue_oldest_seconds", "How long the queue's head has waited", labels=["queue"]
    )
    workers = GaugeMetricFamily("cron_queue_workers", "Workers that serve the queue", labels=["queue"])
    for name, queue in seen.queues.items():
        depth.add_metric([name], queue.depth)
        waited = 0.0 if queue.head_queued_at is None else max(0.0, state.now - queue.head_queued_at)
        oldest.add_metric([name], waited)
        workers.add_metric([name], queue.workers)
    yield depth
    yield oldest
    yield workers
    yield _gauge("cron_workers", "Registered workers", seen.workers)
    yield _gauge("cron_redis_memory_bytes", "Memory that Redis uses", seen.memory_bytes or 0)
    yield _gauge("cron_redis_memory_max_bytes", "Redis' maxmemory, 0 = none", seen.memory_max_bytes or 0)
    yield _gauge("cron_redis_replicas", "Replicas that are connected to Redis", seen.replicas)
    yield _gauge(
        "cron_redis_replicas_in_sync",
        "Replicas that acknowledged the newest writes within 0.1 s (WAIT)",
        seen.replicas_in_sync,
    )
    evicted = CounterMetricFamily("cron_redis_evicted_keys", "Keys that Redis has evicted")
    evicted.add_metric([], seen.evicted_keys or 0)
    yield evicted
    yield _gauge(
        "cron_observed_timestamp_seconds", "When Redis was last looked at for these metrics", seen.at
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family
