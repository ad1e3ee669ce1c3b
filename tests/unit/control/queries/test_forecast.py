from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.schedule import Schedule
from kuber_cron.control.queries import forecast

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(name, schedule="0 6 * * *", **policies):
    return Job(id=name, schedule=schedule, command="true", **policies)


def ahead(chosen, *others, count=3):
    return forecast.of_job(chosen, {each.id: each for each in (chosen, *others)}, START, count)


def test_runs_are_the_schedules_own_one_after_the_other():
    runs = ahead(job("backup")).runs
    assert runs == [datetime(2026, 3, day, 6, tzinfo=UTC) for day in (2, 3, 4)]


def test_a_life_begins_and_ends_with_its_first_and_last_instant_included():
    first, last = datetime(2026, 3, 10, 6, tzinfo=UTC), datetime(2026, 3, 12, 6, tzinfo=UTC)
    found = ahead(job("backup", not_before=first, not_after=last), count=9)
    assert found.runs == [first, first + timedelta(days=1), last]


def test_a_life_that_begins_within_a_second_does_not_include_the_second():
    begins = datetime(2026, 3, 10, 6, 0, 0, 500_000, tzinfo=UTC)
    assert ahead(job("backup", not_before=begins)).runs[0] == datetime(2026, 3, 11, 6, tzinfo=UTC)


def test_a_job_whose_life_has_ended_has_no_runs_and_says_so():
    found = ahead(job("backup", not_after=START - timedelta(days=1)))
    assert not found.runs
    assert not found.never
    assert "its life has ended" in found.notes


def test_an_after_job_has_the_instants_of_its_first_predecessor():
    backup, other = job("backup", "30 2 * * *"), job("other", "0 9 * * *")
    report = job("report", "@after", after=["backup", "other"])
    mail = job("mail", "@after", after=["report"])
    found = ahead(mail, report, backup, other)
    assert found.runs == ahead(backup).runs
    assert found.schedule == "@after"
    assert "with backup" in found.notes


def test_a_circle_of_after_jobs_is_no_endless_loop():
    one, other = job("one", "@after", after=["other"]), job("other", "@after", after=["one"])
    assert not ahead(one, other).runs


def test_a_hashed_schedule_is_that_of_the_job_and_not_of_its_name_sake():
    hashed = job("backup", "H H * * *")
    assert ahead(hashed, count=1).runs[0] == Schedule.parse("H H * * *", job_id="backup").next_after(START)


def test_a_delay_is_a_note_and_moves_no_instant():
    delayed = ahead(job("backup", random_delay_minutes=600, jitter=3600.0))
    assert delayed.runs == ahead(job("backup")).runs
    assert any("later" in note for note in delayed.notes)


@pytest.mark.parametrize(
    ("schedule", "never", "note"),
    [
        ("0 0 31 2 *", True, []),
        ("@reboot", False, ["once at the start: of the installation, of the machine under run"]),
        ("@after", False, ["after another job"]),
    ],
)
def test_a_schedule_without_times_says_why(schedule, never, note):
    found = forecast.of_schedule(Schedule.parse(schedule), START, 5)
    assert (found.runs, found.never, found.notes) == ([], never, note)


@settings(max_examples=50)
@given(
    st.sampled_from(["*/7 * * * *", "@every 90s", "0 0 29 2 *", "30 2 * * 1-5", "H H(1-5) * * *"]),
    st.integers(1, 20),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- bounds
)
def test_runs_rise_strictly_and_forecasting_in_two_steps_is_forecasting_in_one(expression, count, start):
    schedule = Schedule.parse(expression, "Europe/Berlin", "x")
    whole = forecast.of_schedule(schedule, start, 2 * count).runs
    assert all(earlier < later for earlier, later in zip([start, *whole], whole, strict=False))
    first = forecast.of_schedule(schedule, start, count).runs
    assert [*first, *forecast.of_schedule(schedule, first[-1], count).runs] == whole
