from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import planning

from kuber_cron.common.errors import StateLostError
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule import Schedule
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.state_loss import StateLoss, plan_repair
from kuber_cron.scheduler.election.term import Term

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def cursor(minutes: int) -> str:
    return Cursor(NOW + timedelta(minutes=minutes), "UTC", "* * * * *").to_text()


def entry(**policy: object) -> planner.CatalogEntry:
    job = Job(id="job", schedule="* * * * *", command="true", **policy)
    return planner.entry(job, Schedule.parse(job.schedule))


def has_lost(loss: StateLoss, term: Term, cursors: dict[str, str], stored: int) -> bool:
    """The start of a term, as the decider makes it."""
    lost = loss.has_lost_decisions(term, stored)
    lost = loss.begin_repair(term, cursors, ["job"], has_lost=lost)
    loss.has_begun(term)
    return lost


def test_fewer_decisions_than_the_record_of_the_lease_are_a_loss():
    assert has_lost(StateLoss(), Term(5, "me", "", 10), {}, 9)


def test_the_record_of_the_lease_is_compared_once_a_term():
    loss, term = StateLoss(), Term(5, "me", "", 10)
    assert has_lost(loss, term, {}, 9)
    assert not has_lost(loss, term, {}, 9)


@pytest.mark.parametrize(("epoch", "counts"), [(5, True), (6, True), (7, False)])
def test_what_is_remembered_counts_until_another_leader_may_have_led(epoch, counts):
    loss = StateLoss()
    loss.remember(5, {"job": cursor(0)}, 10)
    assert has_lost(loss, Term(epoch, "me"), {"job": cursor(0)}, 9) is counts


def test_a_cursor_that_has_gone_back_is_a_loss_and_its_job_is_repaired_from_what_was_known():
    loss = StateLoss()
    loss.remember(5, {"job": cursor(0)}, 10)
    assert has_lost(loss, Term(6, "me"), {"job": cursor(-3)}, 10)
    (skip,) = loss.repair(entry(on_state_loss="skip"), cursor(-3), NOW)
    assert (skip.kind, skip.reason, skip.count) == ("skip", "state_lost", 3)


def test_a_job_is_repaired_until_its_first_decision_was_applied():
    loss = StateLoss()
    loss.remember(5, {"job": cursor(0)}, 10)
    has_lost(loss, Term(6, "me"), {"job": cursor(-3)}, 10)
    assert loss.is_repairing("job")
    loss.repaired("job")
    assert not loss.is_repairing("job")
    assert loss.repair(entry(on_state_loss="skip"), cursor(-3), NOW) == ()


def test_a_job_that_needs_no_repair_is_planned_like_any_other():
    loss = StateLoss()
    has_lost(loss, Term(6, "me", "", 10), {"job": cursor(-3)}, 9)
    assert loss.is_repairing("job")
    assert loss.repair(entry(on_state_loss="replay"), cursor(-3), NOW) == ()
    assert not loss.is_repairing("job")


def test_a_loss_found_within_a_term_is_repaired_by_the_next():
    loss = StateLoss()
    with pytest.raises(StateLostError), loss.noted(Term(5, "me")):
        raise StateLostError("found")
    assert has_lost(loss, Term(6, "me"), {}, 0)
    assert not has_lost(loss, Term(7, "me"), {}, 0)


@given(known=st.integers(-100, 100), stored=st.integers(-100, 100), through=st.integers(0, 100))
def test_what_redis_still_has_is_no_loss(known, stored, through):
    loss = StateLoss()
    loss.remember(5, {"job": cursor(known)}, through)
    assert has_lost(loss, Term(6, "me"), {"job": cursor(stored)}, through) is (stored < known)


def test_an_unreadable_cursor_is_compared_with_nothing():
    loss = StateLoss()
    loss.remember(5, {"job": "nonsense"}, 0)
    assert not has_lost(loss, Term(6, "me"), {"job": cursor(-3)}, 0)


# --- plans of repairs --------------------------------------------------------------------------------


@given(planning.FEW, st.integers(0, 20_000), st.integers(-5_000, 20_000))
def test_a_repair_skips_exactly_what_may_have_run_and_the_rest_is_planned(schedule, lost, more):
    entry = planning.made(schedule, on_state_loss="skip", catchup="all", max_catchup=10_000)
    stored, known = planning.cursor(entry), planning.cursor(entry, planning.T0 + timedelta(seconds=lost))
    now = planning.T0 + timedelta(seconds=lost + more)
    repair = plan_repair(entry, stored, known, now)
    assert planning.covered(repair, schedule) == planning.named(
        schedule, planning.T0, planning.T0 + timedelta(seconds=lost)
    )
    assert {(decision.kind, decision.reason) for decision in repair} <= {("skip", "state_lost")}
    assert len(repair) <= 1
    reached = repair[-1].cursor if repair else stored
    assert plan_repair(entry, reached, known, now) == (), "a repair needs no repair"
    after = planner.plan(entry, reached, now).decisions
    until = max(
        now, planning.T0 + timedelta(seconds=lost)
    )  # where the known cursor is ahead of now, nothing more is due
    assert planning.covered((*repair, *after), schedule) == planning.named(schedule, planning.T0, until)


@pytest.mark.parametrize("policy", [{"on_state_loss": "skip"}, {"execution": "at_most_once"}])
def test_where_nobody_knows_how_far_it_went_everything_up_to_now_may_have_run(policy):
    entry = planning.made(**policy)
    (skip,) = plan_repair(entry, planning.cursor(entry), "", planning.T0 + timedelta(minutes=5, seconds=10))
    assert (skip.kind, skip.reason, skip.count, skip.last) == (
        "skip",
        "state_lost",
        5,
        planning.T0 + timedelta(minutes=5),
    )


def test_under_replay_a_repair_decides_nothing_by_itself():
    entry = planning.made()
    assert (
        plan_repair(
            entry,
            planning.cursor(entry),
            planning.cursor(entry, planning.T0 + timedelta(hours=1)),
            planning.T0,
        )
        == ()
    )


@pytest.mark.parametrize("policy", [{}, {"on_state_loss": "skip"}])
def test_a_cursor_that_is_gone_is_set_to_the_one_that_is_known(policy):
    entry = planning.made(**policy)
    known = planning.cursor(entry, planning.T0 + timedelta(hours=1))
    (move,) = plan_repair(entry, "", known, planning.T0 + timedelta(hours=2))
    assert (move.kind, move.believed, move.cursor, move.reason) == ("move", "", known, "state lost")
    assert plan_repair(entry, "", "", planning.T0) == ()
