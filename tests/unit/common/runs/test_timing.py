from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.runs import timing
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.runs.timing import Timing

AT = datetime(2026, 3, 1, tzinfo=UTC)
CURSOR = Cursor(AT, "UTC", "@hourly")
LIVES = st.none() | st.datetimes(timezones=st.just(UTC))
TIMINGS = st.builds(
    Timing,
    st.integers(0, 10**8).map(lambda seconds: timedelta(seconds=seconds)),
    LIVES,
    LIVES,
    st.from_regex("[A-Za-z0-9_-]*", fullmatch=True),
)


@given(TIMINGS)
def test_a_timing_survives_its_text(made):
    assert timing.read(made.to_text(CURSOR), CURSOR) == made


@given(TIMINGS)
def test_a_timing_stays_with_its_cursor_as_that_moves_on(made):
    assert timing.read(made.to_text(CURSOR), CURSOR.moved_to(AT + timedelta(days=1))) == made


@given(TIMINGS, st.sampled_from([Cursor(AT, "UTC", "@daily"), Cursor(AT, "Europe/Berlin", "@hourly")]))
def test_a_timing_is_none_of_another_schedules(made, other):
    assert timing.read(made.to_text(CURSOR), other) is None


def test_a_part_that_a_newer_version_adds_is_passed_over():
    assert timing.read(f"{Timing().to_text(CURSOR)}|new", CURSOR) == Timing()


@given(st.text("0123456789abcdef|:-T+Z") | st.just(Timing().to_text(CURSOR)[:9] + "x|||"))
def test_what_cannot_be_read_is_not_known(text):
    assert timing.read(text, CURSOR) is None


@pytest.mark.parametrize("at", ["2026-03-01T00:00:00", "never"])
def test_an_instant_without_an_offset_is_not_known(at):
    digest = Timing().to_text(CURSOR).partition("|")[0]
    assert timing.read(f"{digest}|0|{at}||", CURSOR) is None
