from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.cli.arguments import instants
from kuber_cron.common import time_format
from kuber_cron.common.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-05T06:00:00Z", "2026-01-05T06:00"),
        ("2026-01-05T06:00:00+05:30", "2026-01-05T00:30"),
        ("2026-01-05T06:00", "2026-01-05T05:00"),
        (" 2026-07-05 06:00 ", "2026-07-05T04:00"),
        ("2026-01-05", "2026-01-04T23:00"),
    ],
)
def test_an_instant_without_an_offset_is_local_time_of_the_zone(text, meant):
    assert instants.parse(text, BERLIN) == instants.InstantReading(instants=(utc(meant),))


def test_a_time_that_happens_twice_means_both_passes():
    reading = instants.parse("2026-10-25T02:30", BERLIN)
    assert reading.instants == (utc("2026-10-25T00:30"), utc("2026-10-25T01:30"))
    assert "2026-10-25T00:30:00Z and 2026-10-25T01:30:00Z" in reading.note


def test_a_time_that_does_not_exist_is_the_second_before_the_jump():
    reading = instants.parse("2026-03-29T02:30", BERLIN)
    assert reading.instants == (utc("2026-03-29T00:59:59"),)
    assert (
        reading.note
        == "2026-03-29 02:30:00 in Europe/Berlin does not exist: 01:59:59 is followed by 03:00:00"
    )


def test_a_day_that_does_not_exist_is_the_second_before_the_jump():
    reading = instants.parse("2011-12-30T12:00", ZoneInfo("Pacific/Apia"))
    assert reading.instants == (utc("2011-12-30T09:59:59"),)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "25:00", "2026-13-01", "0001-01-01", "9999-12-31", "\x1b[2J"]
)
def test_what_is_no_instant_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as refused:
        instants.parse(text, BERLIN)
    assert "2026-03-29T01:00:00Z" in refused.value.hint


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
).map(ZoneInfo)
FIRST, LAST = datetime(1995, 1, 1), datetime(2035, 1, 1)  # noqa: DTZ001 -- bounds of local times
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))


@given(moments, zones)
def test_a_local_time_that_a_clock_has_shown_reads_back_as_that_instant(moment, zone):
    shown = moment.astimezone(zone).replace(tzinfo=None).isoformat()
    assert moment in instants.parse(shown, zone).instants


@given(st.datetimes(FIRST, LAST), zones)
def test_any_local_time_means_one_or_two_instants_near_it(naive, zone):
    reading = instants.parse(naive.isoformat(), zone)
    assert list(reading.instants) == sorted(set(reading.instants))
    assert (reading.note is None) == (len(reading.instants) == 1 and _exists(naive, zone))
    for instant in reading.instants:
        assert abs(instant.replace(tzinfo=None) - naive) <= timedelta(hours=38)


def _exists(naive, zone):
    return naive.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == naive


@given(moments)
def test_an_instant_survives_its_own_text(moment):
    assert instants.parse(time_format.iso(moment), BERLIN).instants == (moment,)
    assert time_format.iso(moment).endswith("Z")


@pytest.mark.parametrize(
    ("text", "now", "meant"),
    [
        ("02:30", "2026-03-01T03:00:00+01:00", "2026-03-01T02:30:00"),
        ("02:30", "2026-03-01T02:30:00+01:00", "2026-03-01T02:30:00"),
        ("02:30", "2026-03-01T02:29:59+01:00", "2026-02-28T02:30:00"),
        ("2:30:15", "2026-03-01T00:10:00+00:00", "2026-02-28T02:30:15"),
        ("2026-03-01", "2026-03-01T03:00:00+01:00", "2026-03-01"),
        ("soon", "2026-03-01T03:00:00+01:00", "soon"),
    ],
)
def test_a_time_of_day_alone_is_the_last_one_that_has_come(text, now, meant):
    assert instants.of_day(text, datetime.fromisoformat(now), ZoneInfo("Europe/Berlin")) == meant
