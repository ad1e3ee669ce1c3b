"""The scheduler as a service: what its loops make of a loss of state, and of a Redis that refuses."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from prometheus_client import CollectorRegistry
from tests.support.clients import clients
from tests.support.stepped import KEYS
from tests.support.waiting import eventually

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance import redis_observer
from kuber_cron.scheduler.metrics import SchedulerMetrics
from kuber_cron.scheduler.service import Scheduler, SchedulerOptions


class GivenTerm:
    """An election that this process always wins, with the count of decisions that it was told."""

    elected_by = "a test"

    def __init__(self, client):
        self._client = client
        self.transitions = 0
        self.given_up = []
        self.redis = "ok"
        self._through = 0
        self._term = None
        self._win()

    def _win(self):
        self.transitions += 1
        epoch = int(self._client.hget(KEYS.fence, "epoch") or self.transitions - 1) + 1
        self._client.hset(KEYS.fence, mapping={"epoch": epoch, "holder": "me"})
        self._term = Term(epoch, "me", through=self._through)

    def valid_term(self):
        return self._term

    def decided(self, through):
        self._through = through

    def step_down(self, reason):
        self.given_up.append(reason)
        self._win()

    def start(self):
        pass

    def stop(self):
        pass

    def await_quiet_moment(self):
        pass

    def checks(self):
        return {"redis": lambda: self.redis}


@pytest.fixture
def service(redis_client, redis_url, tmp_path):
    (tmp_path / "crontab").write_text("@every 1s true\n")
    with serving(redis_client, redis_url, tmp_path / "crontab") as made:
        yield made


@contextmanager
def serving(redis_client, redis_url, path, **options):
    clock = SystemClock()
    server_clock = RedisClock(clock)
    seconds, micro = redis_client.time()
    server_clock.measured(clock.elapsed(), clock.elapsed(), seconds + micro / 1e6)
    registry = CollectorRegistry()
    measures = JobMetrics(registry)
    watcher = CatalogWatcher([path], clock=clock)
    watcher.load()
    with clients(redis_url) as connect:
        made = Scheduler(
            SchedulerOptions(keys=KEYS, **options),
            connect=connect,
            election=GivenTerm(redis_client),
            server_clock=server_clock,
            watcher=watcher,
            clock=clock,
            metrics=SchedulerMetrics(registry, measures),
        )
        made.registry = registry
        made.start()
        try:
            yield made
        finally:
            made.stop()


def test_the_service_counts_a_loss_once_and_goes_on(service, redis_client):
    (name,) = service.upcoming() or eventually(service.upcoming)
    decided = lambda: redis_client.xlen(KEYS.log(name))  # noqa: E731 - for eventually
    eventually(lambda: decided() > 1)
    redis_client.hset(KEYS.fence, "through", 0)
    eventually(lambda: service.registry.get_sample_value("cron_state_lost_total") == 1)
    before = decided()
    eventually(lambda: decided() > before)
    assert service.registry.get_sample_value("cron_state_lost_total") == 1
    assert len(service._election.given_up) == 1


def test_a_redis_that_refuses_to_be_observed_keeps_nobodys_run_from_being_reaped(service, monkeypatch):
    asked = []

    def refuse(*_, **__):
        asked.append(service)
        raise redis.ResponseError("unknown command 'WAIT'")

    monkeypatch.setattr(redis_observer, "OBSERVE_SECONDS", 0.0)
    monkeypatch.setattr(redis_observer, "read", refuse)
    watch = service._maintenance._housekeeper._reaper._watch
    eventually(lambda: watch._looked_at)
    begun_anew = []
    monkeypatch.setattr(watch, "begin_anew", lambda: begun_anew.append(1))
    eventually(lambda: len(asked) >= 2)
    assert begun_anew == []


def test_redis_is_up_while_it_answers_the_election_and_takes_decisions(service, redis_client, monkeypatch):
    up = lambda: service.registry.get_sample_value("cron_redis_up")  # noqa: E731 - for eventually
    eventually(lambda: redis_client.hlen(KEYS.cursors))
    assert up() == 1
    service._election.redis = "redis has not answered for 11 s"
    assert up() == 0
    service._election.redis = "ok"
    assert up() == 1

    def refuse(*_, **__):
        raise redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'.")

    with monkeypatch.context() as broken:
        broken.setattr(service._deciding._decider, "turn", refuse)
        eventually(lambda: up() == 0)
    eventually(lambda: up() == 1)


def test_a_standby_says_that_redis_is_away_too(service):
    service._election._term = None
    service._election.redis = "redis has not answered for 11 s"
    assert service.registry.get_sample_value("cron_redis_up") == 0


def test_who_led_before_a_clock_was_set_back_does_not_tell_of_it_for_ever(service):
    eventually(service.upcoming)
    service._deciding._decider._cursors._farthest = datetime.now(UTC) + timedelta(seconds=90)
    service._election._term = None
    assert service.registry.get_sample_value("cron_clock_stepped_back_seconds") == 0


def test_a_leader_tells_by_when_it_expects_a_success_and_where_late_runs_would_be_counted(service):
    value = service.registry.get_sample_value
    (name,) = eventually(service.upcoming)
    assert value("cron_job_schedule_lateness_seconds_count", {"queue": "default"}) is not None
    eventually(lambda: value("cron_job_success_expected_timestamp_seconds", {"job": name}), seconds=20)
    assert value("cron_job_failing", {"job": name}) == 0
    assert value("cron_observed_timestamp_seconds") == pytest.approx(SystemClock().now().timestamp(), abs=20)


def test_no_cursor_is_dropped_where_the_jobs_directory_is_empty_all_of_a_sudden(
    redis_client, redis_url, tmp_path
):
    (tmp_path / "crontab").write_text("@every 1s true # every second\n")
    with serving(redis_client, redis_url, tmp_path, removal_seconds=0.5) as made:
        (name,) = eventually(made.upcoming)
        decided = lambda: redis_client.xlen(KEYS.log(name))  # noqa: E731 - for eventually
        eventually(lambda: decided() > 1)
        (tmp_path / "crontab").unlink()
        eventually(lambda: made.registry.get_sample_value("cron_config_valid") == 0)
        before = decided()
        eventually(lambda: decided() > before + 2)  # its instants go on, and nothing has been dropped
        assert redis_client.hexists(KEYS.cursors, name)
        assert made.checks()["config"]() != "ok"


def test_no_cursor_is_dropped_by_who_starts_with_an_empty_directory(redis_client, redis_url, tmp_path):
    text = "@every 1s true # every second\n"
    (tmp_path / "crontab").write_text(text)
    with serving(redis_client, redis_url, tmp_path) as made:
        (name,) = eventually(made.upcoming)
        eventually(lambda: redis_client.hexists(KEYS.cursors, name))
    (tmp_path / "crontab").unlink()
    with serving(redis_client, redis_url, tmp_path, removal_seconds=0.5) as made:
        eventually(lambda: made._deciding._decider._removals.is_pending)
        until = made._watcher._clock.elapsed() + 3
        eventually(lambda: made._watcher._clock.elapsed() > until)
        assert redis_client.hexists(KEYS.cursors, name)
        (tmp_path / "crontab").write_text(text)
        eventually(made.upcoming)
        entries = redis_client.xrange(KEYS.log(name))
        assert b"dropped" not in [entry[b"decision"] for _, entry in entries]
