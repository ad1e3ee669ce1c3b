"""A worker whose machine shows another time: what it writes is by Redis' time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from tests.support.clients import clients
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.time_format import parse
from kuber_cron.control.queries import processes
from kuber_cron.worker.coordination.run_store import AttemptEnd, AttemptStart, RunStore
from kuber_cron.worker.coordination.worker_context import WorkerOptions
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.service import Worker


class WrongClock(SystemClock):
    """The wall clock of a machine that somebody has set."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


@contextmanager
def worker_with(clock, url, directory) -> Iterator[Worker]:
    registry = CollectorRegistry()
    with clients(url, block_seconds=2.0) as connect:
        made = Worker(
            WorkerOptions(keys=KEYS, log_dir=directory, environ=dict(os.environ)),
            connect=connect,
            clock=clock,
            metrics=WorkerMetrics(registry, slots=4, alone=True),
            job_metrics=JobMetrics(registry),
        )
        made.start()
        try:
            yield made
        finally:
            made.drain(5.0)
            assert made.wait(20)


def near(client, seconds) -> bool:
    """True for an instant within a minute of Redis' time."""
    return abs(float(seconds) - client.time()[0]) < 60


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_that_is_an_hour_wrong_reaches_nothing_that_is_compared(
    redis_client, redis_url, tmp_path, hours
):
    with worker_with(WrongClock(timedelta(hours=hours)), redis_url, tmp_path):
        run = push(redis_client, job("hello", "true"))
        result = ended(redis_client, run)
        stats = KEYS.stats("hello")
        for name in ("last_success_at", "last_run_at"):
            assert near(redis_client, redis_client.hget(stats, name))
        for name in ("started_at", "ended_at"):
            at = redis_client.hget(KEYS.run(run), name).decode()
            assert near(redis_client, parse(at).timestamp()), name
        # When RQ forgets it: a day later by default, and not an hour sooner.
        kept = redis_client.ttl(KEYS.run(run))
        until = redis_client.zscore(KEYS.registry("finished", "default"), run)
        assert abs(until - redis_client.time()[0] - kept) < 60
        assert near(redis_client, result.latest_result().created_at.timestamp())


@pytest.mark.parametrize("hours", [-1, 1])
def test_people_are_shown_when_a_worker_began_and_was_seen(redis_client, redis_url, tmp_path, hours):
    with worker_with(WrongClock(timedelta(hours=hours)), redis_url, tmp_path):
        (shown,) = processes.worker_infos(Store(redis_client, KEYS))
        assert near(redis_client, shown.started_at.timestamp())
        assert near(redis_client, shown.seen_at.timestamp())


def test_a_retry_is_due_by_redis_time(redis_client, redis_url, tmp_path):
    with worker_with(WrongClock(timedelta(hours=1)), redis_url, tmp_path):
        run = push(redis_client, job("flaky", "false", retries=1, retry_delay=30, retry_jitter=0))
        eventually(lambda: status(redis_client, run) == "scheduled")
        assert (
            20 < redis_client.zscore(KEYS.registry("scheduled", "default"), run) - redis_client.time()[0] < 40
        )


def test_a_success_that_an_earlier_version_reports_from_the_future_counts_as_now(redis_client):
    store = RunStore(Store(redis_client, KEYS), worker="w", ttl_seconds=15.0)
    run = push(redis_client, job("hello", "true"))
    ahead = datetime.now(UTC) + timedelta(hours=1)
    store.register(ahead)
    assert store.claim(["default"], 1) == [run]
    assert isinstance(store.start(run, "e1", ahead), AttemptStart)
    store.end(run, "e1", AttemptEnd(action="finish", outcome="success", ended_at=ahead, result=("type", 1)))
    assert near(redis_client, redis_client.hget(KEYS.stats("hello"), "last_success_at"))
