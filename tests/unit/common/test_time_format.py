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
