"""The planner's laws and its table of what becomes of a missed instant."""

from datetime import UTC, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.planning import FEW, T0, covered, cursor, made, named

from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.scheduler.decisions import planner


def outcome(plan):
    return [(d.kind, d.reason, d.count) for d in plan.decisions]


def instants(plan):
    """Every instant that the plan decides, by the schedule of one minute."""
    found = []
    for decision in plan.decisions:
        at = decision.first
        while at <= decision.last:
            found.append(at)
            at += timedelta(minutes=1)
    return found


def test_a_job_seen_for_the_first_time_starts_at_now():
    plan = planner.plan(made(), "", T0 + timedelta(seconds=10.5))
    assert outcome(plan) == [("move", "first seen", 1)]
    assert plan.wake_at == T0 + timedelta(minutes=1)


def test_an_instant_is_queued_when_it_is_due_and_not_before():
    entry = made()
    minute = T0 + timedelta(minutes=1)
    assert planner.plan(entry, cursor(entry), minute - timedelta(milliseconds=1)).decisions == ()
    (decision,) = planner.plan(entry, cursor(entry), minute).decisions
    assert (decision.kind, decision.run, decision.first) == ("queue", "job-20260301T000100Z", minute)


def test_instants_at_most_a_minute_late_are_queued_whatever_the_catch_up_policy():
    entry = made(catchup="none")
    plan = planner.plan(entry, cursor(entry), T0 + timedelta(minutes=2))
    assert outcome(plan) == [("queue", "", 1), ("queue", "", 1)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"catchup": "none"}, [("skip", "catchup", 8), ("queue", "", 1), ("queue", "", 1)]),
        ({"catchup": "last"}, [("skip", "catchup", 7)] + [("queue", "", 1)] * 3),
        ({"catchup": "all"}, [("queue", "", 1)] * 10),
        ({"catchup": "all", "max_catchup": 3}, [("skip", "limit", 5)] + [("queue", "", 1)] * 5),
        ({"catchup": "all", "deadline": 270.0}, [("skip", "deadline", 5)] + [("queue", "", 1)] * 5),
        ({"suspend": True}, [("skip", "suspended", 10)]),
    ],
)
def test_ten_missed_minutes_come_to_what_the_policy_says(policy, expected):
    entry = made(**policy)
    assert outcome(planner.plan(entry, cursor(entry), T0 + timedelta(minutes=10))) == expected


def test_a_cursor_ahead_of_now_decides_nothing():
    entry = made()
    plan = planner.plan(entry, cursor(entry, T0 + timedelta(hours=1)), T0)
    assert plan.decisions == ()
    assert plan.wake_at == T0 + timedelta(hours=1)


def test_an_edit_decides_the_past_by_the_stored_schedule_and_never_fires_retroactively():
    entry = made("* * * * *", catchup="all")
    stored = Cursor(T0, "UTC", "*/5 * * * *").to_text()
    plan = planner.plan(entry, stored, T0 + timedelta(minutes=7, seconds=30))
    assert [(d.kind, d.first) for d in plan.decisions] == [
        ("queue", T0 + timedelta(minutes=5)),
        ("move", T0 + timedelta(minutes=7, seconds=30)),
    ]
    assert plan.wake_at == T0 + timedelta(minutes=8)


def test_decisions_of_one_plan_believe_each_other():
    entry = made(catchup="last")
    plan = planner.plan(entry, cursor(entry), T0 + timedelta(minutes=10))
    assert plan.decisions[0].believed == cursor(entry)
    for before, after in zip(plan.decisions, plan.decisions[1:], strict=False):
        assert after.believed == before.cursor


def test_jitter_delays_the_run_and_not_its_identity():
    entry = made(jitter=30.0)
    seconds = entry.delay.total_seconds()
    assert 0 < seconds <= 30
    minute = T0 + timedelta(minutes=1)
    assert planner.plan(entry, cursor(entry), minute + entry.delay - timedelta(seconds=1)).decisions == ()
    (decision,) = planner.plan(entry, cursor(entry), minute + entry.delay).decisions
    assert decision.first == minute
    assert decision.due_at == minute + entry.delay


def test_a_life_bounds_the_instants():
    entry = made(catchup="all", not_before=T0 + timedelta(minutes=3), not_after=T0 + timedelta(minutes=5))
    plan = planner.plan(entry, cursor(entry), T0 + timedelta(minutes=9))
    assert instants(plan) == [T0 + timedelta(minutes=m) for m in (3, 4, 5)]
    assert plan.wake_at is None


def test_a_month_of_missed_seconds_is_closed_in_one_step_with_its_count():
    entry = made("@every 1s")
    now = T0 + timedelta(days=30)
    plan = planner.plan(entry, cursor(entry), now)
    first, *rest = plan.decisions
    assert (first.kind, first.reason) == ("skip", "catchup")
    assert sum(d.count for d in plan.decisions) == 30 * 86400
    assert plan.decisions[-1].last == now
    assert len(rest) < 200


@given(st.integers(0, 4000), st.integers(0, 4000), st.sampled_from(["none", "last", "all"]))
def test_every_minute_between_cursor_and_now_is_decided_exactly_once(gap, more, catchup):
    entry = made(catchup=catchup)
    first_now = T0 + timedelta(seconds=gap)
    plan = planner.plan(entry, cursor(entry), first_now)
    assert plan == planner.plan(entry, cursor(entry), first_now), "planning is not pure"
    reached = plan.decisions[-1].cursor if plan.decisions else cursor(entry)
    following = planner.plan(entry, reached, first_now + timedelta(seconds=more))
    decided = instants(plan) + instants(following)
    assert decided == [T0 + timedelta(minutes=m) for m in range(1, (gap + more) // 60 + 1)]


@given(st.datetimes(timezones=st.just(UTC)), st.text("abc/|*, ", min_size=1))
def test_a_cursor_survives_its_text(at, schedule):
    made = Cursor(at.replace(microsecond=0), "Europe/Berlin", schedule)
    assert Cursor.from_text(made.to_text()) == made


# --- edits ------------------------------------------------------------------------


@given(FEW, FEW, st.integers(0, 20_000), st.integers(0, 20_000))
def test_over_an_edit_each_schedule_decides_its_own_time_exactly_once(old, new, until_edit, after_edit):
    edited_at = T0 + timedelta(seconds=until_edit)
    entry = made(new, catchup="all", max_catchup=10_000)
    stored = Cursor(T0, "UTC", old).to_text()
    plan = planner.plan(entry, stored, edited_at)
    assert covered(plan.decisions, old) == named(old, T0, edited_at)
    reached = plan.decisions[-1].cursor if plan.decisions else stored
    later = planner.plan(entry, reached, edited_at + timedelta(seconds=after_edit))
    start = T0 if old == new else edited_at
    expected = named(new, start, edited_at + timedelta(seconds=after_edit))
    if old == new:
        expected = [at for at in expected if at > edited_at]
    assert covered(later.decisions, new) == expected


LIVES = st.fixed_dictionaries(
    {"not_before": st.none() | st.integers(-60, 90), "not_after": st.none() | st.integers(-60, 90)}
)


def life(minutes):
    return {name: None if at is None else T0 + timedelta(minutes=at) for name, at in minutes.items()}


JITTERS = st.integers(0, 600)


@given(st.tuples(JITTERS, LIVES), st.tuples(JITTERS, LIVES), st.integers(0, 4_000), st.integers(0, 4_000))
def test_over_an_edit_of_life_or_jitter_each_decides_its_own_time_exactly_once(
    old, new, until_edit, after_edit
):
    policy = {"catchup": "all", "max_catchup": 10_000}
    before, entry = (made(jitter=jitter, **life(ends), **policy) for jitter, ends in (old, new))
    reached, edited_at = cursor(before), T0 + timedelta(seconds=until_edit)
    timing = before.timing.to_text(Cursor.from_text(reached))
    plan = planner.plan(entry, reached, edited_at, timing)
    for decision in plan.decisions:
        reached, timing = decision.cursor, decision.timing or timing
    until = edited_at + timedelta(seconds=after_edit)
    later = planner.plan(entry, reached, until, timing)
    is_edit = before.timing != entry.timing
    counted_from = edited_at if is_edit else T0
    expected = [at for at in named("* * * * *", T0, edited_at) if is_edit and lives(before.job, at)]
    due = named("* * * * *", counted_from, until - entry.delay)
    expected += [at for at in due if lives(entry.job, at)]
    decided = [each.first for each in (*plan.decisions, *later.decisions) if each.kind == "queue"]
    assert decided == expected


def lives(job, at):
    return (job.not_before is None or at >= job.not_before) and (job.not_after is None or at <= job.not_after)


def test_a_cursor_without_a_timing_is_completed_and_no_edit():
    entry = made(jitter=30.0, not_after=T0 + timedelta(days=1))
    plan = planner.plan(entry, cursor(entry), T0 + timedelta(minutes=1, seconds=40), "")
    complete, queue = plan.decisions
    assert (complete.kind, complete.cursor, queue.kind) == ("complete", cursor(entry), "queue")
    assert planner.plan(entry, cursor(entry), T0, complete.timing).decisions == ()
