from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.schedule import Schedule
from kuber_cron.common.schedule.occurrences import Occurrences

TEXTS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0 9 * * 1-5",
        "0 0 29 2 *",
        "@every 90s",
        "@every 1s",
        "0 0 L * *",
    ]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
MOMENTS = st.integers(946_684_800_0, 2_840_140_800_0).map(
    lambda tenths: datetime.fromtimestamp(tenths / 10, UTC)
)


def tables(**life):
    return st.builds(
        lambda text, zone: Occurrences(schedule=Schedule.parse(text, zone), **life), TEXTS, ZONES
    )


@given(tables(), MOMENTS)
def test_the_run_before_an_instant_is_the_last_one_before_it(table, at):
    before = table.before(at)
    assert before is not None
    assert before < at
    assert table.after(before) >= at
    assert table.has(before)


@given(tables(), MOMENTS)
def test_of_the_runs_around_an_instant_none_is_passed_over(table, at):
    before, after = table.before(at), table.after(at)
    if after is not None:
        assert table.before(after) == (at if table.has(at) else before)
    whole = at.replace(microsecond=0)
    assert table.has(whole) == (table.after(whole - timedelta(seconds=1)) == whole)


@given(
    tables(not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2030, 1, 1, tzinfo=UTC)), MOMENTS
)
def test_no_run_lies_outside_of_a_jobs_life(table, at):
    for found in (table.before(at), table.after(at)):
        assert found is None or table.is_alive(found)


def test_an_instant_with_a_fraction_is_none_of_the_schedules():
    table = Occurrences(schedule=Schedule.parse("* * * * *"))
    assert table.has(datetime(2026, 3, 1, 0, 1, tzinfo=UTC))
    assert not table.has(datetime(2026, 3, 1, 0, 1, 0, 1, tzinfo=UTC))


@pytest.mark.parametrize("text", ["@reboot", "@after", "61 * * * *", ""])
def test_what_names_no_instants_has_no_occurrences(text):
    assert Occurrences.of(text, "UTC", "job") is None


def test_a_zone_that_is_gone_has_no_occurrences():
    assert Occurrences.of("* * * * *", "Mars/Base", "job") is None
