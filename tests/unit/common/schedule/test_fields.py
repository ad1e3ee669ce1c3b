"""The grammar of the five fields, and what is said of a text that is not in it."""

import calendar
from datetime import date
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.schedule import Schedule, ScheduleError, day_matching, fields
from kuber_cron.common.schedule.field_spec import DAY, FIELD_SPECS, HOUR, MINUTE, MONTH, WEEKDAY, ErrorCode


def values(kind, text, job_id=""):
    return fields.parse(kind, text, job_id).values


def refused(text, zone="UTC"):
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(text, zone, "job")
    return caught.value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (MINUTE, "007,7", {7}),
        (MINUTE, "50/4", {50, 54, 58}),
        (HOUR, "22-23/5", {22}),
        (MONTH, "jan-MAR,Dec", {1, 2, 3, 12}),
        (MONTH, "oct/2", {10, 12}),
        (WEEKDAY, "5-7", {5, 6, 0}),
        (WEEKDAY, "fri-sun", {5, 6, 0}),
        (WEEKDAY, "5-0", {5, 6, 0}),
        (WEEKDAY, "sat-0", {6, 0}),
        (WEEKDAY, "1-7/2", {1, 3, 5, 0}),
        (WEEKDAY, "7/2", {0}),
        (WEEKDAY, "sun/3", {0, 3, 6}),
        (WEEKDAY, "*/7", {0}),
        (WEEKDAY, "sun-0", {0}),
        (WEEKDAY, "0-7", {0, 1, 2, 3, 4, 5, 6}),
        (WEEKDAY, "7L,friL", {"0L", "5L"}),
        (WEEKDAY, "7#1,mon#2", {"0#1", "1#2"}),
        (DAY, "lw,l,03w,1", {"LW", "L", "3W", 1}),
        (DAY, "*/999999999", {1}),
    ],
)
def test_a_field_means_its_set(kind, text, expected):
    assert values(kind, text) == expected


@given(kind=st.sampled_from(FIELD_SPECS), a=st.integers(0, 40), b=st.integers(0, 40), step=st.integers(1, 40))
def test_a_range_with_a_step_is_its_list(kind, a, b, step):
    low, high = kind.low + min(a, b) % (kind.top - kind.low + 1), kind.top
    listed = ",".join(str(number) for number in range(low, high + 1, step))
    assert values(kind, f"{low}-{high}/{step}") == values(kind, listed) == values(kind, f"{low}/{step}")


@given(kind=st.sampled_from(FIELD_SPECS), numbers=st.sets(st.integers(0, 59), min_size=1))
def test_the_list_of_a_fields_values_means_the_same_values(kind, numbers):
    numbers = {kind.low + number % (kind.top - kind.low + 1) for number in numbers}
    assert values(kind, ",".join(map(str, numbers))) == numbers


def test_the_star_is_a_matter_of_the_text():
    assert fields.parse(DAY, "*/2,5").is_starred
    assert fields.parse(DAY, "?").is_starred
    assert not fields.parse(DAY, "1-31").is_starred
    assert not fields.parse(DAY, "1,*").is_starred
    assert values(DAY, "1-31") == values(DAY, "1,*") == values(DAY, "*")


# The formula of cron.md §2, computed once and written down: it must never change, or every job moves.
@pytest.mark.parametrize(
    ("job_id", "index", "expected"),
    [
        ("backup", 0, 8_956_695_375_833_590_061),
        ("backup", 1, 1_518_159_272_048_479_294),
        ("", 4, 1_288_580_727_285_173_361),
        ("ünïcode", 2, 14_554_655_997_230_924_520),
    ],
)
def test_the_slot_of_a_job_is_the_same_for_ever(job_id, index, expected):
    assert fields.slot(job_id, index) == expected


@given(job_id=st.text(alphabet=st.characters(codec="utf-8")), step=st.integers(1, 100))
def test_hashed_values_follow_the_formula(job_id, step):
    def hashed(index):
        data = job_id.encode() + b"\x00" + b"01234"[index : index + 1]
        return int(sha256(data).hexdigest()[:16], 16)

    assert values(MINUTE, "H", job_id) == {hashed(0) % 60} == values(MINUTE, "~", job_id)
    assert values(HOUR, "H(9-17)", job_id) == {9 + hashed(1) % 9} == values(HOUR, "9~17", job_id)
    assert values(DAY, "H", job_id) == {1 + hashed(2) % 28}
    assert values(DAY, "~", job_id) == {1 + hashed(2) % 31}
    assert values(DAY, "20~", job_id) == {20 + hashed(2) % 12}
    assert values(MONTH, "~mar", job_id) == {1 + hashed(3) % 3}
    assert values(WEEKDAY, "H", job_id) == {hashed(4) % 7}
    assert values(MINUTE, f"H/{step}", job_id) == set(range(hashed(0) % min(step, 60), 60, step))


@pytest.mark.parametrize(
    ("text", "about", "code", "hint"),
    [
        ("0 22-6 * * *", "hour", ErrorCode.BACKWARDS, "write 22-23,0-6"),
        ("0 22-6/3 * * *", "hour", ErrorCode.BACKWARDS, "write 22,1-6/3"),
        ("0 0 * nov-feb *", "month", ErrorCode.BACKWARDS, "write nov-dec,jan-feb"),
        ("0 0 * * fri-mon", "day-of-week", ErrorCode.BACKWARDS, "write fri-sun,mon"),
        ("0 H(6-2) * * *", "hour", ErrorCode.BACKWARDS, "write H(2-6)"),
        ("0 6~2 * * *", "hour", ErrorCode.BACKWARDS, "write 2~6"),
        ("*5 * * * *", "minute", ErrorCode.SYNTAX, "write */5"),
        ("/5 * * * *", "minute", ErrorCode.SYNTAX, "write */5"),
        ("h * * * *", "minute", ErrorCode.MISPLACED, "write H"),
        ("h/15 * * * *", "minute", ErrorCode.MISPLACED, "write H/15"),
        ("0 0 * * monday-friday", "day-of-week", ErrorCode.NAME, "write mon-fri"),
        ("0 0 * september *", "month", ErrorCode.NAME, "write sep"),
        ("0 0 * * L5", "day-of-week", ErrorCode.MISPLACED, "write 5L"),
        ("0 mon * * *", "hour", ErrorCode.NAME, None),
        ("0 5x * * *", "hour", ErrorCode.NAME, None),
        ("0 24 * * *", "hour", ErrorCode.OUTSIDE, "write 0: hours count from 0 to 23"),
        ("61 * * * *", "minute", ErrorCode.OUTSIDE, None),
        ("*/0 * * * *", "minute", ErrorCode.STEP, "steps count from 1"),
        ("0 0 * * 1#6", "day-of-week", ErrorCode.OUTSIDE, None),
        ("? * * * *", "minute", ErrorCode.MISPLACED, "write *"),
        ("0 0 1,? * *", "day-of-month", ErrorCode.MISPLACED, None),
        ("1234567890 * * * *", "minute", ErrorCode.LIMIT, None),
        (f"{'1,' * 256}1 * * * *", "minute", ErrorCode.LIMIT, None),
        (f"{'1' * 1025} * * * *", "minute", ErrorCode.LIMIT, None),
        ("@Daily", "nickname", ErrorCode.NICKNAME, "write @daily"),
        ("@dayly", "nickname", ErrorCode.NICKNAME, "did you mean @daily?"),
        ("@daily 5", "nickname", ErrorCode.NICKNAME, "write @daily"),
        ("daily", "schedule", ErrorCode.SHAPE, "write @daily"),
        ("@every", "nickname", ErrorCode.DURATION, "write @every 5m"),
        ("@every 90", "nickname", ErrorCode.DURATION, "write @every 90s"),
        ("@every 5M", "nickname", ErrorCode.DURATION, "write @every 5m"),
        ("@every 1h 30m", "nickname", ErrorCode.DURATION, "write @every 1h30m"),
        ("@every 0s", "nickname", ErrorCode.DURATION, None),
        ("@every 8d", "nickname", ErrorCode.DURATION, None),
        ("@every 30m1h", "nickname", ErrorCode.DURATION, None),
        (
            "CRON_TZ=Europe/Paris 0 6 * * *",
            "schedule",
            ErrorCode.VARIABLE,
            "write CRON_TZ=Europe/Paris on a line of its own, above",
        ),
        ("0 6\u00a0* * *", "schedule", ErrorCode.CHARACTER, "write a plain blank there"),
        ("0 6 * * *\u200b", "schedule", ErrorCode.CHARACTER, "delete it"),
        ("0 6 * *", "schedule", ErrorCode.SHAPE, "the fields are minute hour day-of-month month day-of-week"),
    ],
)
def test_an_error_names_the_part_and_says_what_to_write(text, about, code, hint):
    error = refused(text)
    assert (error.about, error.code, error.hint) == (about, code, hint)
    assert error.message.startswith(f"bad {about}: ")


@pytest.mark.parametrize("text", ["0 0 6 * * *", "0 0 6 * * * 2026"])
def test_seconds_and_years_are_refused_with_every_as_the_hint(text):
    error = refused(text)
    assert (error.about, error.code) == ("schedule", ErrorCode.SHAPE)
    assert error.hint


def test_the_message_of_a_backward_range_is_the_specs():
    assert refused("0 22-6 * * *").message == "bad hour: range 22-6 runs backwards"


def test_the_offset_is_that_of_the_item_in_the_text_as_given():
    assert refused(" 0\t5,22-6 * * *").offset == 5
    assert refused("0 0 * * 1,2,x").offset == 12
    assert refused("  @every  5x").offset == 10


def test_limits_are_the_last_values_that_are_taken():
    assert values(MINUTE, ",".join(["1"] * 256)) == {1}
    assert values(MINUTE, "000000001") == {1}
    assert values(MINUTE, "*/999999999") == {0}


def matching_days(text, year, month):
    """The days of the month that the day fields match, by the engine."""
    _, _, day, _, weekday = text.split()
    left, right = fields.parse(DAY, day), fields.parse(WEEKDAY, weekday)
    rule = day_matching.rule(
        left.values, MONTH.all_values, right.values, must_match_both=left.is_starred or right.is_starred
    )
    first = date(year, month, 1).toordinal() - day_matching.EPOCH_DAY
    length = calendar.monthrange(year, month)[1]
    return [n + 1 for n in range(length) if rule.first(first + n) == first + n]


@pytest.mark.parametrize(
    ("text", "year", "month", "expected"),
    [
        ("0 0 30W * *", 2026, 2, [27]),  # clamped to Saturday the 28th, so the Friday before
        ("0 0 1W * *", 2026, 8, [3]),  # Saturday the 1st does not leave the month
        ("0 0 31W * *", 2026, 5, [29]),  # Sunday the 31st neither
        ("0 0 LW * *", 2024, 2, [29]),
        ("0 0 L,1W * *", 2026, 5, [1, 31]),
        ("0 0 * * 5L", 2026, 2, [27]),
        ("0 0 * * 1#5", 2026, 2, []),
        ("0 0 13 * 5", 2026, 2, [6, 13, 20, 27]),
        ("0 0 1-7 * */7", 2026, 3, [1]),
        ("0 0 L * 1#1", 2026, 6, [1, 30]),
    ],
)
def test_the_days_of_a_month(text, year, month, expected):
    assert matching_days(text, year, month) == expected
