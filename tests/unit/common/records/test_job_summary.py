"""Cards and replicas' entries survive Redis, and what a newer release adds to them is left out."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.records import job_summary, processes
from kuber_cron.common.records.job_summary import JobSummary, is_suspended
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule import Schedule

AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
INSTANTS = st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0))
NAMES = st.text("abc-_", min_size=1, max_size=5)
CARDS = st.builds(
    JobSummary,
    schedule=st.text(min_size=1),
    timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
    timed_by=st.just("") | NAMES,
    delay=st.floats(0, 3600),
    queue=NAMES,
    team=st.none() | st.text(),
    description=st.none() | st.text(),
    suspend=st.booleans(),
    concurrency=st.sampled_from(["allow", "forbid", "replace", "queue"]),
    max_running=st.integers(1, 9),
    group=st.none() | NAMES,
    after=st.lists(NAMES, max_size=3).map(tuple),
    deadline=st.none() | st.floats(0, 3600),
    catchup=st.sampled_from(["none", "last", "all"]),
    not_before=st.none() | INSTANTS,
    not_after=st.none() | INSTANTS,
    source=st.text(),
)


@given(CARDS)
def test_a_card_read_back_is_the_card(card):
    assert JobSummary.from_text(card.to_text()) == card


@given(CARDS)
def test_whether_a_card_suspends_its_job_is_seen_without_reading_it(card):
    assert is_suspended(card.to_text()) == card.suspend
    told = replace(
        card, suspend=False, description='"suspend":true', team="suspend", source='{"suspend":true}'
    )
    assert not is_suspended(told.to_text())


def test_a_usual_job_costs_little():
    assert JobSummary(schedule="* * * * *").to_text() == '{"schedule":"* * * * *"}'


def test_what_a_newer_release_adds_is_left_out_and_what_is_no_card_is_none():
    assert JobSummary.from_text('{"schedule": "@daily", "mood": "good"}') == JobSummary(schedule="@daily")
    for text in (
        "",
        "[]",
        "3",
        '"x"',
        "{}",
        '{"schedule": "@daily", "not_after": "soon"}',
        '{"schedule": "@daily", "delay": "x"}',
    ):
        assert JobSummary.from_text(text) is None


@given(
    st.builds(
        processes.SchedulerInfo,
        holder=st.text(),
        version=st.text(),
        started_at=st.none() | INSTANTS,
        seen_at=INSTANTS,
        epoch=st.none() | st.integers(1),
        jobs=st.integers(0),
        is_valid=st.booleans(),
        problem=st.none() | st.text(),
        late_seconds=st.none() | st.floats(0, 99),
    )
)
def test_a_replicas_entry_read_back_is_the_entry(entry):
    assert processes.SchedulerInfo.from_text(entry.to_text()) == entry
    newer = json.dumps(json.loads(entry.to_text()) | {"mood": "good"})
    assert processes.SchedulerInfo.from_text(newer) == entry


def test_an_entry_without_its_instant_is_none():
    for text in ("", "[]", "{}", '{"holder": "a"}', '{"holder": "a", "seen_at": "soon"}'):
        assert processes.SchedulerInfo.from_text(text) is None


def test_a_replica_that_has_been_silent_is_not_alive():
    entry = processes.SchedulerInfo(holder="a", seen_at=AT)
    assert entry.is_alive(AT + timedelta(seconds=processes.SEEN_SECONDS - 1))
    assert not entry.is_alive(AT + timedelta(seconds=processes.SEEN_SECONDS))


def test_h_is_spread_by_the_job_that_gives_the_instants():
    cursor = Cursor(datetime(2026, 3, 1, tzinfo=UTC), "UTC", "H H * * *")
    own = job_summary.occurrences_of("report", cursor, JobSummary(schedule="@after"))
    theirs = job_summary.occurrences_of("report", cursor, JobSummary(schedule="@after", timed_by="extract"))
    assert theirs.after(cursor.at) == Schedule.parse("H H * * *", "UTC", "extract").next_after(cursor.at)
    assert own.after(cursor.at) != theirs.after(cursor.at)
