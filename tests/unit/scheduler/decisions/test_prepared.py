"""What is made ready ahead of its instant is only ever what would have been decided without it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule import Schedule
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.dispatcher import BatchItem
from kuber_cron.scheduler.decisions.prepared import LOOKAHEAD, SLICE, PreparedDecisions

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DUE = T0 + timedelta(minutes=1)


def made(schedule="* * * * *", **policy):
    job = Job(id="job", schedule=schedule, command="true", **policy)
    return planner.entry(job, Schedule.parse(schedule, "UTC", "job"))


def stored(entry, at=T0):
    zone, text = entry.cursor_schedule
    return Cursor(at, zone, text).to_text()


def ready(entry):
    """An ``PreparedDecisions`` that holds the decision of the first minute."""
    ahead = PreparedDecisions()
    planned = planner.plan(entry, stored(entry), DUE)
    ahead.keep("job", BatchItem(planned.decisions[0], 0), planned.wake_at)
    return ahead


def test_what_is_ready_is_given_at_its_instant_and_once():
    entry = made()
    ahead = ready(entry)
    item, wake_at = ahead.take("job", stored(entry), DUE)
    assert (item.decision.first, wake_at) == (DUE, DUE + timedelta(minutes=1))
    assert ahead.take("job", stored(entry), DUE) is None


@pytest.mark.parametrize("late", [timedelta(milliseconds=-1), timedelta(seconds=1.1), timedelta(hours=1)])
def test_what_is_early_or_late_is_planned_anew(late):
    entry = made()
    assert ready(entry).take("job", stored(entry), DUE + late) is None


def test_what_was_made_from_another_cursor_is_planned_anew():
    entry = made()
    assert ready(entry).take("job", stored(entry, T0 - timedelta(minutes=1)), DUE) is None
    assert ready(entry).take("job", "", DUE) is None


def test_what_is_followed_by_another_instant_that_is_due_is_planned_anew():
    entry = made("@every 1s")
    ahead = PreparedDecisions()
    planned = planner.plan(entry, stored(entry), T0 + timedelta(seconds=1))
    ahead.keep("job", BatchItem(planned.decisions[0], 0), planned.wake_at)
    assert ahead.take("job", stored(entry), T0 + timedelta(seconds=2)) is None


def test_a_new_appointment_and_a_clearing_forget_what_was_ready():
    entry = made()
    ahead = ready(entry)
    ahead.expect("job", DUE)
    assert ahead.take("job", stored(entry), DUE) is None
    ahead = ready(entry)
    ahead.clear()
    assert ahead.take("job", stored(entry), DUE) is None
    assert ahead.next_at() is None


def test_a_few_at_a_time_are_made_ready_soonest_first_and_each_once():
    ahead = PreparedDecisions()
    names = [f"j{n:03}" for n in range(3 * SLICE + 5)]
    for number, name in enumerate(reversed(names)):
        ahead.expect(name, DUE + timedelta(seconds=len(names) - number))
    now = DUE - LOOKAHEAD + timedelta(seconds=len(names))
    found = []
    while part := ahead.to_prepare(now):
        assert len(part) <= SLICE
        found.extend(part)
    assert found == names


def test_nothing_is_made_ready_longer_before_than_it_is_kept_for():
    ahead = PreparedDecisions()
    ahead.expect("job", DUE)
    assert ahead.next_at() == DUE - LOOKAHEAD
    assert ahead.to_prepare(DUE - LOOKAHEAD - timedelta(milliseconds=1)) == []
    ahead.expect("job", None)
    assert ahead.next_at() is None


@given(
    st.lists(st.integers(1, 400_000), min_size=1, max_size=40),
    st.sampled_from(["* * * * *", "*/2 * * * *", "@every 30s", "@every 7s"]),
    st.sampled_from(["none", "last", "all"]),
    st.sampled_from([0.0, 20.0]),
)
def test_with_it_the_same_is_decided_as_without(steps, schedule, catchup, jitter):
    entry = made(schedule, catchup=catchup, jitter=jitter)
    plain, cursor = stored(entry), stored(entry)
    ahead, now, at = PreparedDecisions(), T0, T0
    for milliseconds in steps:
        now += timedelta(milliseconds=milliseconds)
        expected = planner.plan(entry, plain, now).decisions
        plain = expected[-1].cursor if expected else plain
        # As the decider does it: at its appointment, from what is ready or planned anew, and then the next.
        if at <= now:
            if found := ahead.take("job", cursor, now):
                decisions, wake_at = (found[0].decision,), found[1]
            else:
                planned = planner.plan(entry, cursor, now)
                decisions, wake_at = planned.decisions, planned.wake_at
            cursor = decisions[-1].cursor if decisions else cursor
            assert decisions == expected
            at = wake_at
            ahead.expect("job", at)
        else:
            assert expected == ()
        for name in ahead.to_prepare(now):
            planned = planner.plan(entry, cursor, at)
            if len(planned.decisions) == 1:
                ahead.keep(name, BatchItem(planned.decisions[0], 0), planned.wake_at)
    assert cursor == plain
