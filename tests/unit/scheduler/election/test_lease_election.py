"""Single turns of the elector: what ends a term, what failsafe forgives, what a release and a rest do."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.scheduler.election.election import ElectionContext, identity, quiet_in
from kuber_cron.scheduler.election.fence import FenceReply
from kuber_cron.scheduler.election.lease_election import LeaseElection
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseRecord
from kuber_cron.scheduler.election.metrics import LeaseMetrics

TIMING = LeaseTiming(lease=15.0, renew=10.0, retry=2.0, failsafe=60.0)


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def elapsed(self) -> float:
        return self.seconds


class Stage:
    """An API server and a Redis that do as a test says, one replica, and time that passes only in between."""

    def __init__(self, timing: LeaseTiming = TIMING) -> None:
        self.clock = Clock()
        self.record: LeaseRecord | None = None
        self.version = 0
        self.reason: Any = None  # why the API server fails
        self.write_reason: Any = None  # the same for writes alone
        self.epoch = self.through = 0
        self.holder = ""
        self.redis_is_away = False
        self.stale = 0  # so many claims find another's larger epoch
        self.announced = 0
        self.answered_at = self.clock.elapsed()
        self.registry = CollectorRegistry()
        context = ElectionContext(
            holder="me",
            clock=self.clock,
            server_clock=RedisClock(self.clock),
            metrics=LeaseMetrics(self.registry),
        )
        self.elector = LeaseElection(context, store=self, fence=self, timing=timing, rng=random.Random(1))

    def read(self) -> LeaseRecord | None:
        if self.reason is not None:
            raise LeaseError("no", reason=self.reason, hint="a hint")
        return self.record

    def write(self, record: LeaseRecord) -> LeaseRecord:
        if self.reason is not None or self.write_reason is not None:
            raise LeaseError("no", reason=self.write_reason or self.reason)
        if record.version != (self.record.version if self.record else ""):
            raise LeaseError("stale", reason="conflict")
        self.version += 1
        self.record = replace(record, version=str(self.version))
        return self.record

    def check(self, epoch: int) -> FenceReply:  # noqa: ARG002 - the fence's own signature
        return self._answer("CHECKED")

    def claim(self, epoch: int) -> FenceReply:
        if self.stale:
            self.stale -= 1
            self.epoch = epoch + 5
            return self._answer("STALE")
        if not self.redis_is_away:
            self.epoch, self.holder = epoch, "me"
        return self._answer("CLAIMED")

    def publish_release(self) -> None:
        self._answer("")
        self.announced += 1

    def _answer(self, verdict: str) -> FenceReply:
        if self.redis_is_away:
            raise RedisUnreachableError("away")
        self.answered_at = self.clock.elapsed()
        return FenceReply(verdict, self.epoch, self.holder, self.through)

    def turns(self, seconds: float) -> None:
        """Turn after turn for so long, as the thread would."""
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            pause = max(self.elector.attempt(), 0.05)
            self.clock.seconds += min(pause, until - self.clock.seconds)

    def leads(self) -> bool:
        return self.elector.valid_term() is not None

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.elector.attempt()
    assert made.leads()
    return made


def test_a_lost_renewal_ends_leadership_before_the_lease_expires():
    stage = Stage(replace(TIMING, failsafe=0.0))
    stage.elector.attempt()
    stage.reason = "timeout"
    stage.turns(9.9)
    assert stage.leads()
    stage.turns(0.2)
    assert not stage.leads()


@pytest.mark.parametrize(
    "reason", ["timeout", "transport", "server_error", "too_many_requests", "unauthorized"]
)
def test_failsafe_carries_a_leader_through_an_api_outage(stage, reason):
    epoch = stage.elector.valid_term().epoch
    stage.reason = reason
    stage.turns(40)
    assert stage.elector.valid_term().epoch == epoch
    assert stage.value("cron_failsafe") == 1
    stage.reason = None
    stage.turns(4)
    assert stage.elector.valid_term().epoch == epoch
    assert stage.value("cron_failsafe") == 0
    assert stage.value("cron_lease_renew_failures_total", reason=reason) > 10


def test_failsafe_is_bounded(stage):
    stage.reason = "timeout"
    stage.turns(69)
    assert stage.leads()
    stage.turns(4)
    assert not stage.leads()


@pytest.mark.parametrize("reason", ["forbidden", "rejected", "not_found"])
def test_what_a_working_api_server_refuses_is_no_reason_for_failsafe(stage, reason):
    stage.write_reason = reason
    stage.turns(10.5)
    assert not stage.leads()


def test_failsafe_needs_redis(stage):
    stage.reason = "timeout"
    stage.turns(20)
    assert stage.leads()
    stage.redis_is_away = True
    stage.turns(2.1)
    assert not stage.leads()


def test_failsafe_ends_when_somebody_else_has_written(stage):
    stage.reason = "timeout"
    stage.turns(20)
    stage.reason, stage.write_reason = None, "conflict"
    stage.turns(2.1)
    assert not stage.leads()
    stage.reason = "timeout"
    stage.turns(10)
    assert not stage.leads()


def test_failsafe_ends_when_another_holds_the_lease(stage):
    stage.reason = "timeout"
    stage.turns(20)
    stage.reason = None
    stage.record = LeaseRecord(holder="other", duration_seconds=15, transitions=2, version="77")
    stage.turns(2.1)
    assert not stage.leads()


def test_failsafe_ends_when_another_has_claimed_in_redis(stage):
    stage.reason = "timeout"
    stage.turns(20)
    stage.epoch, stage.holder = 9, "other"
    stage.turns(2.1)
    assert not stage.leads()


@pytest.mark.parametrize("seconds", [8.1, 20.0, 3600.0])
def test_a_process_that_wakes_from_a_pause_has_no_token_even_in_failsafe(stage, seconds):
    stage.reason = "timeout"
    stage.turns(30)
    assert stage.leads()
    stage.clock.seconds += seconds
    assert not stage.leads()


def test_a_renewal_that_comes_through_after_the_term_was_over_does_not_bring_it_back(stage):
    first = stage.elector.valid_term().epoch
    read = stage.read
    stage.clock.seconds += 9.0

    def slow() -> LeaseRecord | None:
        stage.clock.seconds += 2.0
        return read()

    stage.elector._store = type(
        "Slow", (), {"read": staticmethod(slow), "write": staticmethod(stage.write)}
    )()
    stage.elector.attempt()
    assert not stage.leads()
    stage.elector._store = stage
    stage.elector.attempt()
    assert stage.elector.valid_term().epoch == first + 1


def test_failsafe_outlives_requests_that_take_all_the_time_they_may(stage):
    read, epoch = stage.read, stage.elector.valid_term().epoch

    def slow_read() -> LeaseRecord | None:
        stage.clock.seconds += 2.9
        return read()

    def no_write(record: LeaseRecord) -> LeaseRecord:
        stage.clock.seconds += 3.0
        raise LeaseError("no answer", reason="timeout")

    stage.elector._store = type(
        "Slow", (), {"read": staticmethod(slow_read), "write": staticmethod(no_write)}
    )()
    led = []
    for _ in range(6):
        stage.clock.seconds += stage.elector.attempt()
        led.append(stage.elector.valid_term())
    assert {term.epoch for term in led if term} == {epoch}
    assert None not in led


def test_a_term_that_was_over_is_never_taken_up_again(stage):
    first = stage.elector.valid_term().epoch
    stage.clock.seconds += 10.5
    stage.turns(0.1)
    assert stage.elector.valid_term().epoch == first + 1


def test_a_pause_between_request_and_answer_gives_no_longer_a_term(stage):
    write = stage.write
    first = stage.elector.valid_term().epoch

    def slow(record: LeaseRecord) -> LeaseRecord:
        written = write(record)
        stage.clock.seconds += 11.0
        return written

    stage.elector._store = type("Slow", (), {"read": staticmethod(stage.read), "write": staticmethod(slow)})()
    stage.elector.attempt()
    assert not stage.leads()
    stage.elector._store = stage
    stage.elector.attempt()
    assert stage.elector.valid_term().epoch == first + 1


def test_a_leader_without_redis_for_ten_seconds_gives_the_lease_away_and_rests_for_one(stage):
    stage.redis_is_away = True
    stage.turns(9.5)
    assert stage.record.holder == "me"
    stage.turns(3)
    assert stage.record.holder == ""
    stage.redis_is_away = False
    stage.turns(10)
    assert not stage.leads()
    stage.turns(7)
    assert stage.leads()


def test_who_cannot_reach_redis_does_not_contest():
    stage = Stage()
    stage.redis_is_away = True
    stage.turns(10)
    assert stage.record is None
    stage.redis_is_away = False
    stage.turns(3)
    assert stage.leads()


def test_a_claim_that_finds_a_larger_epoch_is_made_again_above_it():
    stage = Stage()
    stage.stale = 2
    stage.elector.attempt()
    term = stage.elector.valid_term()
    assert term.epoch == stage.epoch == stage.record.transitions == 13


def test_after_three_claims_in_vain_the_lease_is_given_back():
    stage = Stage()
    stage.stale = 3
    stage.elector.attempt()
    assert not stage.leads()
    assert (stage.record.holder, stage.announced) == ("", 1)


def test_a_claim_that_redis_does_not_answer_gives_the_lease_back():
    stage = Stage()
    looked = stage.check
    stage.check = lambda epoch: (looked(epoch), setattr(stage, "redis_is_away", True))[0]  # type: ignore[method-assign] # between the two calls
    stage.elector._fence = stage
    stage.elector.attempt()
    assert not stage.leads()
    assert stage.record.holder == ""


def test_a_release_gives_the_lease_to_nobody_and_tells_the_standbys(stage):
    transitions = stage.record.transitions
    stage.elector.stop()
    assert not stage.leads()
    assert (stage.record.holder, stage.record.duration_seconds) == ("", 1)
    assert (stage.record.transitions, stage.announced) == (transitions, 1)


def test_a_release_over_an_edited_lease_is_tried_again_and_never_over_anothers(stage):
    stage.record = replace(stage.record, version="edited")
    stage.elector.stop()
    assert stage.record.holder == ""
    other = Stage()
    other.elector.attempt()
    other.record = LeaseRecord(holder="other", version="8")
    other.elector.stop()
    assert other.record.holder == "other"


def test_a_standby_has_nothing_to_release():
    stage = Stage()
    stage.record = LeaseRecord(holder="other", duration_seconds=15, version="1")
    stage.elector.attempt()
    stage.elector.stop()
    assert (stage.record.holder, stage.announced) == ("other", 0)


def test_a_deleted_lease_is_written_anew_by_the_leader_that_goes_on(stage):
    epoch = stage.elector.valid_term().epoch
    stage.record = None
    stage.turns(2.1)
    assert stage.elector.valid_term().epoch == epoch
    assert (stage.record.holder, stage.record.transitions) == ("me", epoch)


def test_transitions_typed_in_by_hand_do_not_become_the_epoch():
    stage = Stage()
    stage.epoch = 4
    stage.record = LeaseRecord(holder="", transitions=2_000_000_000, version="")
    stage.elector.attempt()
    assert stage.elector.valid_term().epoch == 5


def test_the_count_of_decisions_is_written_at_each_renewal_and_carried_into_the_next_term(stage):
    stage.elector.decided(12)
    stage.turns(2.1)
    assert stage.record.through == 12
    stage.elector.step_down("a test")
    stage.through = 0
    stage.elector.attempt()
    assert stage.elector.valid_term().through == 12


def test_a_loss_that_was_dealt_with_lets_the_count_begin_anew(stage):
    stage.elector.decided(12)
    stage.turns(2.1)
    stage.elector.decided(3)
    stage.turns(2.1)
    assert stage.record.through == 3


def test_an_outage_of_the_api_server_does_not_make_a_standby_take_the_lease_before_its_holder_is_back():
    stage = Stage()
    stage.record = LeaseRecord(holder="other", duration_seconds=15, renewed_at="1", version="1")
    stage.turns(3)
    stage.reason = "transport"
    stage.turns(60)
    stage.reason = None
    stage.turns(5)
    assert stage.record.holder == "other"
    stage.turns(3)
    assert stage.leads()


# --- health --------------------------------------------------------------------------------------


def test_a_standby_is_ready_when_it_could_lead():
    stage = Stage()
    assert stage.elector.checks()["lease"]() == "the lease has not been read yet"
    stage.record = LeaseRecord(holder="other", duration_seconds=15, version="1")
    stage.elector.attempt()
    assert {name: check() for name, check in stage.elector.checks().items()} == dict.fromkeys(
        ("election", "lease", "redis"), "ok"
    )
    stage.reason = "transport"
    stage.turns(16)
    assert stage.elector.checks()["lease"]().startswith("the lease has not been read for 1")


def test_who_is_forbidden_the_lease_is_alive_and_not_ready():
    stage = Stage()
    stage.reason = "forbidden"
    stage.elector.attempt()
    assert stage.elector.checks()["lease"]() == "no (a hint)"
    assert stage.elector.checks()["election"]() == "ok"


def test_an_election_that_does_not_turn_is_not_alive(stage):
    stage.clock.seconds += 31
    assert stage.elector.checks()["election"]() == "the election has not turned for 31 s"


def test_redis_that_is_away_is_told(stage):
    stage.redis_is_away = True
    stage.turns(11)
    assert "redis has not answered" in stage.elector.checks()["redis"]()


# --- small things --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "wait"),
    [(0.0, 2.0), (1.5, 0.5), (2.0, 0.0), (30.0, 0.0), (58.0, 0.0), (58.5, 3.5), (59.9, 2.1)],
)
def test_nothing_is_handed_over_within_two_seconds_of_a_minutes_turn(second, wait):
    at = datetime(2026, 1, 1, 12, 30, tzinfo=UTC) + timedelta(seconds=second)
    assert quiet_in(at) == pytest.approx(wait)
    assert quiet_in(at + timedelta(seconds=wait)) == pytest.approx(0.0, abs=1e-6)


def test_an_identity_is_the_pods_and_new_for_each_process():
    environ = {"HOSTNAME": "scheduler-0", "POD_UID": "6d5c7f2a-aaaa-bbbb"}
    one, two = identity(environ), identity(environ)
    assert one.startswith("scheduler-0_6d5c7f2a_")
    assert one != two
    assert identity({"HOSTNAME": "laptop"}).startswith("laptop_")
