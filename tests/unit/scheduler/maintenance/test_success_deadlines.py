"""The dead man's switch: by when a success is expected, and never of a job that could not have had one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.support.workers import job

from kuber_cron.scheduler.decisions.catalog import compile_entries
from kuber_cron.scheduler.maintenance.redis_observer import LastRun
from kuber_cron.scheduler.maintenance.success_deadlines import LEAST_SECONDS, SuccessDeadlines, expected_by

FRIDAY = datetime(2026, 1, 2, 17, 55, tzinfo=UTC)
HOUR, DAY = 3600.0, 86400.0


def entry(schedule="0 * * * *", **policy):
    return compile_entries([job("a", schedule=schedule, **policy)])["a"]


def after(moment, entry_, run):
    """Seconds from the moment until a success is overdue."""
    at = expected_by(entry_, run)
    return None if at is None else at - moment.timestamp()


def test_a_success_is_expected_of_the_next_instant_with_a_tenth_of_the_gap_to_the_one_after_it():
    run = LastRun(success_at=FRIDAY.timestamp())
    assert after(FRIDAY, entry("0 * * * *"), run) == 300 + LEAST_SECONDS + HOUR / 10


def test_the_gap_that_counts_is_the_one_of_the_day_and_not_the_longest():
    run = LastRun(success_at=FRIDAY.timestamp())
    monday = FRIDAY.replace(day=5, hour=9, minute=0)
    office_hours = entry("*/5 9-17 * * 1-5")
    assert expected_by(office_hours, run) == monday.timestamp() + LEAST_SECONDS + 30


def test_a_rare_job_has_an_hour_of_its_gap_at_most():
    run = LastRun(success_at=FRIDAY.timestamp())
    assert (
        expected_by(entry("0 0 1 * *"), run)
        == datetime(2026, 2, 1, tzinfo=UTC).timestamp() + LEAST_SECONDS + HOUR
    )


def test_a_slow_job_has_twice_the_time_that_it_last_took():
    run = LastRun(success_at=FRIDAY.timestamp())
    slow = replace(run, duration_seconds=5 * HOUR)
    daily = entry("30 2 * * *")
    assert expected_by(daily, slow) == expected_by(daily, run) + 10 * HOUR


def test_a_job_that_may_be_retried_has_its_retries_waits_too():
    run = LastRun(success_at=FRIDAY.timestamp())
    patient = entry(retries=3, retry_delay=60.0, retry_backoff=2.0, retry_jitter=0.0)
    assert expected_by(patient, run) == expected_by(entry(), run) + 60 + 120 + 240


def test_jitter_is_waited_for():
    run = LastRun(success_at=FRIDAY.timestamp())
    late = replace(entry(), delay=timedelta(minutes=4))
    assert expected_by(late, run) == expected_by(entry(), run) + 240


def test_a_job_that_never_succeeded_has_until_its_following_instant():
    new = LastRun(expected_from=FRIDAY.timestamp())
    assert after(FRIDAY, entry("0 * * * *"), new) == 300 + HOUR + LEAST_SECONDS
    assert after(FRIDAY, entry("55 17 * * *"), new) == DAY + DAY + LEAST_SECONDS
    assert after(FRIDAY, entry("55 17 * * 5"), new) == 7 * DAY + DAY + LEAST_SECONDS  # of a week a day


def test_nothing_is_expected_of_a_job_that_nobody_has_decided_anything_about():
    assert expected_by(entry(), LastRun()) is None


def test_nothing_is_expected_of_a_job_without_another_instant():
    run = LastRun(success_at=FRIDAY.timestamp(), expected_from=FRIDAY.timestamp())
    assert expected_by(entry("@reboot"), run) is None
    assert expected_by(entry("0 0 31 2 *"), run) is None
    assert expected_by(entry(not_after=FRIDAY), run) is None


def test_an_expectation_begins_with_the_jobs_life():
    run = LastRun(expected_from=FRIDAY.timestamp())
    assert after(FRIDAY, entry(not_before=FRIDAY + timedelta(days=9, minutes=5)), run) >= 9 * DAY


def test_a_suspension_excuses_what_an_old_success_would_ask_for():
    long_ago = LastRun(success_at=(FRIDAY - timedelta(days=30)).timestamp())
    resumed = replace(long_ago, expected_from=FRIDAY.timestamp())
    assert after(FRIDAY, entry(), long_ago) < 0
    assert after(FRIDAY, entry(), resumed) > 300


@given(
    schedule=st.sampled_from(["* * * * *", "@every 10s", "30 2 * * *", "*/5 9-17 * * 1-5", "0 0 1 1 *"]),
    start=st.integers(0, 10**9),
    lasted=st.floats(0, DAY),
    patience=st.floats(0, 30),
)
def test_a_job_that_succeeds_at_each_instant_is_never_overdue(schedule, start, lasted, patience):
    """Run after run, each as long as the one before and with up to half a minute in a queue."""
    planned = entry(schedule)
    success = datetime.fromtimestamp(start, UTC).timestamp()
    for _ in range(5):
        run = LastRun(success_at=success, duration_seconds=lasted)
        due = next(planned.occurrences_after(datetime.fromtimestamp(success, UTC)))
        following = due.timestamp() + lasted + patience
        assert following < expected_by(planned, run)
        success = following


def test_a_round_looks_at_five_hundred_jobs_and_comes_round_to_each():
    entries = compile_entries([job(f"j{i}") for i in range(1200)])
    runs = dict.fromkeys(entries, LastRun(success_at=0.0))
    expectations = SuccessDeadlines()
    assert [len(expectations.update_some(entries, runs)) for _ in range(3)] == [500, 1000, 1200]
    later = dict.fromkeys(entries, LastRun(success_at=5.0))
    before = expectations.update_some(entries, runs)
    for _ in range(3):
        now = expectations.update_some(entries, later)
    assert all(now[one] == before[one] + 5 for one in entries)


def test_an_edit_and_a_removal_leave_nothing_of_the_old_expectation():
    expectations = SuccessDeadlines()
    run = LastRun(success_at=FRIDAY.timestamp())
    expectations.update_some(compile_entries([job("a"), job("b")]), {"a": run, "b": run})
    edited = compile_entries([job("a", schedule="@every 1h")])
    found = expectations.update_some(edited, {"a": run, "b": run})
    assert found == {"a": expected_by(edited["a"], run)}
