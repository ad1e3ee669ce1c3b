"""A worker whose machine shows another time: what it writes is by Redis' time."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.time_format import parse
from kuber_cron.control.queries import processes
from kuber_cron.worker.coordination.run_store import AttemptEnd, AttemptStart, RunStore


class WrongClock(SystemClock):
    """The wall clock of a machine that somebody has set."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


def near(client, seconds) -> bool:
    """True for an instant within a minute of Redis' time."""
    return abs(float(seconds) - client.time()[0]) < 60


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_that_is_an_hour_wrong_reaches_nothing_that_is_compared(
    redis_client, redis_url, tmp_path, hours
):
    with worker(redis_url, tmp_path, clock=WrongClock(timedelta(hours=hours))):
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
    with worker(redis_url, tmp_path, clock=WrongClock(timedelta(hours=hours))):
        (shown,) = processes.worker_infos(Store(redis_client, KEYS))
        assert near(redis_client, shown.started_at.timestamp())
        assert near(redis_client, shown.seen_at.timestamp())


def test_a_retry_is_due_by_redis_time(redis_client, redis_url, tmp_path):
    with worker(redis_url, tmp_path, clock=WrongClock(timedelta(hours=1))):
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
