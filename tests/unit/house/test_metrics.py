"""docs/metrics.md names what the code exports, and nothing else."""

import re
from datetime import UTC, datetime
from pathlib import Path

from tests.support.workers import job

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.observability.job_metrics import OTHER, JobMetrics
from kuber_cron.common.observability.process_metrics import make_registry
from kuber_cron.scheduler.decisions.catalog import Catalog, compile_entries
from kuber_cron.scheduler.election.metrics import LeaseMetrics
from kuber_cron.scheduler.maintenance.redis_observer import LastRun, QueueState, RedisObservation
from kuber_cron.scheduler.metrics import SchedulerMetrics
from kuber_cron.worker.metrics import WorkerMetrics

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def leading_registry():
    registry = make_registry()
    measures = JobMetrics(registry)
    metrics = SchedulerMetrics(registry, measures)
    LeaseMetrics(registry)
    WorkerMetrics(registry, slots=4, alone=False)
    NotificationSender(None, clock=SystemClock(), registry=registry)
    metrics.update(
        epoch=3,
        catalog=Catalog(compile_entries([job("a")]), 1, True, NOW, ()),
        expected={"a": 700.0},
        observation=RedisObservation(
            epoch=3,
            jobs={"a": LastRun(1.0, 1.0, "success")},
            queues={"default": QueueState(2, 5.0, 1)},
            missed={("a", "catchup"): 4},
            acted={"stop": 2},
        ),
        now=10.0,
    )
    return registry


def test_the_documented_metrics_are_those_of_the_code():
    documented = set(re.findall(r"^\| `(cron_[a-z_]+)", DOCS.read_text(), re.MULTILINE))
    exported = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in leading_registry().collect()
        if metric.name.startswith("cron_")
    }
    assert exported == documented


def test_a_standby_tells_nothing_of_jobs_and_queues():
    registry = make_registry()
    SchedulerMetrics(registry, JobMetrics(registry))
    assert registry.get_sample_value("cron_leader") == 0
    assert registry.get_sample_value("cron_queue_depth", {"queue": "default"}) is None


def test_the_leader_tells_what_it_observed():
    registry = leading_registry()
    assert registry.get_sample_value("cron_job_missed_total", {"job": "a", "reason": "catchup"}) == 4
    assert registry.get_sample_value("cron_queue_oldest_seconds", {"queue": "default"}) == 5


def test_what_people_do_is_counted_from_nothing_on():
    registry = leading_registry()
    assert registry.get_sample_value("cron_manual_actions_total", {"action": "stop"}) == 2
    assert registry.get_sample_value("cron_manual_actions_total", {"action": "trigger"}) == 0


def test_a_leader_tells_nothing_that_it_observed_in_an_earlier_term():
    registry = make_registry()
    metrics = SchedulerMetrics(registry, JobMetrics(registry))
    metrics.update(
        epoch=4, observation=RedisObservation(epoch=3, jobs={"a": LastRun(1.0)}, missed={("a", "limit"): 1})
    )
    assert registry.get_sample_value("cron_workers") is None
    assert registry.get_sample_value("cron_job_failing", {"job": "a"}) is None
    assert registry.get_sample_value("cron_job_missed_total", {"job": "a", "reason": "limit"}) is None
    metrics.update(observation=RedisObservation(epoch=4))
    assert registry.get_sample_value("cron_workers") == 0


def test_a_job_above_the_limit_does_not_fail_or_fall_silent_unseen():
    registry = make_registry()
    metrics = SchedulerMetrics(registry, JobMetrics(registry, max_jobs=1))
    bad, good = LastRun(2.0, 1.0, "failed", is_failing=True), LastRun(2.0, 2.0, "success")
    metrics.update(
        epoch=1,
        expected={"first": 50.0, "second": 30.0, "third": 40.0, "fourth": 60.0},
        observation=RedisObservation(
            epoch=1, jobs={"first": bad, "second": bad, "third": good, "fourth": bad}
        ),
    )
    value = registry.get_sample_value
    assert value("cron_job_failing", {"job": "first"}) == 1
    assert value("cron_job_failing", {"job": OTHER}) == 2
    assert value("cron_job_success_expected_timestamp_seconds", {"job": OTHER}) == 30
    assert value("cron_job_last_run_timestamp_seconds", {"job": OTHER}) is None


def test_what_is_counted_first_is_an_increase_and_no_new_series():
    registry = make_registry()
    measures = JobMetrics(registry)
    WorkerMetrics(registry, slots=1, alone=True)
    NotificationSender(None, clock=SystemClock(), registry=registry)
    measures.expect_runs_of(["batch"])
    measures.expect_starts_from(["batch-low"])
    value = registry.get_sample_value
    assert value("cron_job_schedule_lateness_seconds_count", {"queue": "batch"}) == 0
    assert value("cron_job_start_latency_seconds_count", {"queue": "batch-low"}) == 0
    assert value("cron_quarantined_total", {"reason": "signature"}) == 0
    assert value("cron_notifications_total", {"kind": "ping", "outcome": "failed"}) == 0


def test_counters_of_too_many_jobs_collapse():
    registry = make_registry()
    measures = JobMetrics(registry, max_jobs=1)
    for name in ("first", "second", "third"):
        measures.attempt_ended(name, "failed")
    value = registry.get_sample_value
    assert value("cron_job_executions_total", {"job": "first", "outcome": "failed"}) == 1
    assert value("cron_job_executions_total", {"job": OTHER, "outcome": "failed"}) == 2
