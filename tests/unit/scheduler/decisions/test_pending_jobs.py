from datetime import timedelta

from tests.support.planning import T0

from kuber_cron.scheduler.decisions.pending_jobs import PendingJobs

SOON = T0 + timedelta(minutes=1)


def test_dependents_wait_while_a_predecessor_has_a_decision_that_was_not_applied():
    pending = PendingJobs()
    pending.not_applied("a")
    assert pending.waits_for_any(["b", "a"])
    pending.applied("a")
    assert not pending.waits_for_any(["b", "a"])
    assert not pending.waits_for_any([])


def test_a_job_that_waits_for_its_predecessors_is_planned_as_of_when_it_began_to_wait():
    pending = PendingJobs()
    pending.wait("b", T0, SOON)
    assert pending.due.at("b") == SOON
    assert not pending.is_settled
    assert pending.planned_as_of("b", SOON) == T0
    assert pending.planned_as_of("b", SOON) == SOON


def test_a_job_that_is_planned_anew_waits_for_nothing():
    pending = PendingJobs()
    pending.not_applied("a")
    pending.wait("a", T0, SOON)
    pending.plan_anew("a", T0)
    assert pending.is_settled
    assert pending.due.at("a") == T0


def test_decisions_are_prepared_half_a_minute_before_and_not_while_anything_is_due():
    pending = PendingJobs()
    following = [("a", SOON)]
    pending.expect(following)
    assert following == []
    assert pending.next_at() == SOON - timedelta(seconds=30)
    assert not pending.is_time_to_prepare(T0)
    assert pending.is_time_to_prepare(SOON - timedelta(seconds=30))
    assert not pending.is_time_to_prepare(SOON)


def test_what_was_forgotten_is_never_due():
    pending = PendingJobs()
    pending.expect([("a", SOON)])
    pending.not_applied("a")
    pending.clear()
    assert pending.next_at() is None
    assert pending.is_settled
