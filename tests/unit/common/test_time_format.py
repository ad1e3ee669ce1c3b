from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common import time_format


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 m 00 s"),
        (65, "1 m 05 s"),
        (3599, "59 m 59 s"),
        (3600, "1 h 00 m"),
        (86399, "23 h 59 m"),
        (86400 * 3 + 3600 * 4, "3 d 04 h"),
    ],
)
def test_a_span_has_at_most_two_units(seconds, words):
    assert time_format.span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"),
        (45, "in 45 s"),
        (-45, "45 s ago"),
        (300, "in 5 min"),
        (3 * 3600, "in 3 h"),
        (-86400 * 3, "3 d ago"),
    ],
)
def test_a_distance_has_one_rounded_unit(seconds, words):
    assert time_format.away(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.31, "0.3 s"), (9.94, "9.9 s"), (9.96, "9 s"), (-1, "0.0 s")]
)
def test_a_short_duration_shows_a_tenth(seconds, words):
    assert time_format.duration(seconds) == words


@given(st.floats(min_value=-1e12, max_value=1e12, allow_nan=False))
def test_past_and_future_are_mirror_images(seconds):
    if abs(seconds) >= 1:
        future, past = time_format.away(abs(seconds)), time_format.away(-abs(seconds))
        assert future.removeprefix("in ") == past.removesuffix(" ago")


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_span_never_grows_as_time_runs_down(one, other):
    def seconds(words):
        parts = words.split()
        units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
        return sum(int(n) * units[u] for n, u in zip(parts[::2], parts[1::2], strict=True))

    low, high = sorted((one, other))
    assert seconds(time_format.span(low)) <= seconds(time_format.span(high)) <= high


AT = datetime(2026, 3, 29, 1, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        ("auto", "2026-03-29T01:00:00.250000Z"),
        ("seconds", "2026-03-29T01:00:00Z"),
        ("milliseconds", "2026-03-29T01:00:00.250Z"),
    ],
)
def test_an_instant_is_written_in_utc_with_its_precision(precision, text):
    berlin = AT.astimezone(timezone(timedelta(hours=2)))
    assert time_format.iso(AT, precision) == time_format.iso(berlin, precision) == text


def test_an_instant_of_whole_seconds_has_no_fraction():
    assert time_format.iso(AT.replace(microsecond=0)) == "2026-03-29T01:00:00Z"


def test_rq_instants_always_have_microseconds():
    assert time_format.rq_instant(AT.replace(microsecond=0)) == "2026-03-29T01:00:00.000000Z"


def test_tables_and_names_show_whole_seconds():
    assert time_format.display(AT) == "2026-03-29 01:00:00Z"
    assert time_format.stamp(AT) == "20260329T010000Z"


NAIVE = AT.replace(tzinfo=None)  # hypothesis wants its bounds so


@given(
    st.datetimes(
        min_value=NAIVE.replace(year=2), max_value=NAIVE.replace(year=9998), timezones=st.timezones()
    )
)
def test_what_is_written_is_what_is_read(instant):
    utc = instant.astimezone(UTC)  # because instants in a gap or a fold equal none of another zone
    assert time_format.parse(time_format.iso(instant)) == utc
    assert time_format.parse_or_none(time_format.rq_instant(instant)) == utc


@pytest.mark.parametrize("text", ["", "soon", "2026-03-29T01:00:00", "0001-01-01T00:00:00+05:00", None, 7])
def test_what_names_no_instant_is_none(text):
    assert time_format.parse_or_none(text) is None
    with pytest.raises(ValueError, match=r"instant|isoformat|years"):
        time_format.parse(text)
