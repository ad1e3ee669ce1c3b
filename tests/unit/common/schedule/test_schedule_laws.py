"""Laws that hold for every schedule, whatever it says."""

import string
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kuber_cron.common.schedule import Schedule, ScheduleError

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia"]
TEXTS = [
    *("* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "0 9 * * 1-5", "15,45 1-3 * * *", "0 0 1 * *"),
    *(
        "0 0 L * *",
        "0 0 LW 2 *",
        "0 0 15W * 3",
        "0 0 * * 5L",
        "0 0 29 2 *",
        "0 0 */2 * 5#5",
        "H H(1-3) ~ * H",
    ),
    *("@every 90s", "@every 7d", "@hourly", "@yearly", "@every_minute"),
]
schedules = st.builds(Schedule.parse, st.sampled_from(TEXTS), st.sampled_from(ZONES), st.text(max_size=5))
instants = st.datetimes(
    min_value=datetime(1890, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2199, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)
# Texts of the grammar's own signs come closer to its edges than any text does.
nearly_schedules = st.text(alphabet="0123456789*/,-~?#@HLWhlw()= \tjanmonfrievy\xa0\u0663", max_size=60)


ABOUT = {"minute", "hour", "day-of-month", "month", "day-of-week", "schedule", "nickname"}


def error_of(text, zone):
    """The error of a text, or None; any other exception fails the test."""
    try:
        Schedule.parse(text, zone, "job")
    except ScheduleError as error:
        return error
    return None


@given(schedule=schedules, instant=instants)
def test_a_next_run_is_strictly_later_aware_utc_and_in_whole_seconds(schedule, instant):
    found = schedule.next_after(instant)
    assert found is not None
    assert found > instant
    assert found.tzinfo is UTC
    assert found.microsecond == 0


@given(schedule=schedules, instant=instants, share=st.floats(0, 1, exclude_max=True))
def test_until_a_next_run_comes_it_stays_the_next_run(schedule, instant, share):
    found = schedule.next_after(instant)
    between = instant + (found - instant) * share
    assume(between < found)
    assert schedule.next_after(between) == found


@given(schedule=schedules, instant=instants, hours=st.integers(-14, 14))
def test_the_zone_that_the_instant_is_written_in_does_not_matter(schedule, instant, hours):
    assert schedule.next_after(instant.astimezone(timezone(timedelta(hours=hours)))) == schedule.next_after(
        instant
    )


@given(text=st.sampled_from(TEXTS), zone=st.sampled_from(ZONES), blanks=st.sampled_from([" ", "\t", "  \t "]))
def test_a_schedules_text_parses_to_the_schedule(text, zone, blanks):
    schedule = Schedule.parse(blanks + text.replace(" ", blanks) + blanks, zone, "job")
    assert schedule.text == text
    assert Schedule.parse(schedule.text, schedule.timezone, "job") == schedule


@given(seconds=st.integers(1, 7 * 86_400), zone=st.sampled_from(ZONES), instant=instants)
def test_every_runs_at_multiples_from_the_epoch_in_every_zone(seconds, zone, instant):
    found = Schedule.parse(f"@every {seconds}s", zone).next_after(instant)
    assert found.timestamp() % seconds == 0
    assert found - instant <= timedelta(seconds=seconds)


@settings(max_examples=500)
@given(
    text=st.one_of(
        st.text(max_size=80), nearly_schedules, st.builds("{0} {1} {2} * *".format, *[nearly_schedules] * 3)
    )
)
@example("\x00")
@example("\ud800 * * * *")
@example("1" * 5000 + " * * * *")
@example("22-6/" + "9" * 900 + " * * * *")
@example("* * * * mon-" + "x" * 900)
@example("@every " + "9" * 5000 + "s")
def test_any_text_is_a_schedule_or_a_schedule_error_that_points_into_it(text):
    error = error_of(text, "Europe/Berlin")
    if error is None:
        Schedule.parse(text, "Europe/Berlin", "job").next_after(datetime(2026, 1, 1, tzinfo=UTC))
        return
    assert 0 <= error.offset <= len(text)
    assert error.message == str(error)
    assert error.message.isprintable()
    assert error.hint is None or error.hint.isprintable()
    assert error.about in ABOUT


@given(
    name=st.one_of(
        st.text(max_size=30), st.text(alphabet=string.ascii_letters + "/._-+0123456789", max_size=30)
    )
)
def test_any_zone_is_known_or_a_schedule_error_about_the_timezone(name):
    error = error_of("* * * * *", name)
    assert error is None or (error.about, error.code) == ("timezone", "KC204")


@pytest.mark.parametrize(
    "text",
    [
        *("0 0 31 2 *", "0 0 30,31 2 ?", "0 0 31 4,6,9,11 *", "0 0 31 2 */2"),
        "0 0 LW * */6",  # the last weekday is no Saturday or Sunday
        "0 0 */31 * 1L",  # the 1st is in no month's last week
    ],
)
def test_a_date_that_no_year_has_never_fires(text):
    schedule = Schedule.parse(text)
    assert schedule.never
    assert schedule.next_after(datetime(1900, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "text", ["0 0 29 2 *", "0 0 31 2 1", "0 0 * 2 1#5", "0 0 30W 2 *", "0 0 29 2 */7", "0 0 *,LW * sat"]
)
def test_rare_dates_are_not_called_never(text):
    schedule = Schedule.parse(text)
    assert not schedule.never
    assert schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize("text", ["@reboot", "@after"])
def test_reboot_and_after_have_no_times_and_yet_are_not_never(text):
    schedule = Schedule.parse(text)
    assert schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert not schedule.never
    assert schedule.longest_gap_seconds(datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_a_naive_instant_is_refused():
    with pytest.raises(ValueError, match="naive"):
        Schedule.parse("* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
@pytest.mark.parametrize("text", ["* * * * *", "59 23 31 12 *", "0 0 29 2 *", "@every 7d", "0 0 * * 5#5"])
def test_the_ends_of_time_are_answered(text, zone):
    schedule = Schedule.parse(text, zone)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert schedule.next_after(last) is None
    assert schedule.next_after(first) > first
    assert schedule.next_after(datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))) >= first
    assert schedule.next_after(datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))) is None


def test_threads_that_share_a_schedule_get_the_same_answers():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    texts = ["*/7 * * * *", "30 2 * * *", "0 0 L * *", "0 9 * * 1-5", "0 0 29 2 *"]
    answers = [[] for _ in range(8)]
    shared = [Schedule.parse(text, "Europe/Berlin") for text in texts]
    ready = threading.Barrier(len(answers))

    def walk(found, order):
        ready.wait(60)
        for schedule in order:
            at = start
            for _ in range(60):
                at = schedule.next_after(at)
                found.append((schedule.text, at))

    threads = [
        threading.Thread(target=walk, args=(found, shared[n % 5 :] + shared[: n % 5]))
        for n, found in enumerate(answers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = sorted(answers[0])
    assert len(expected) == 300
    assert all(sorted(found) == expected for found in answers)


def test_garbage_of_a_kibibyte_is_refused_within_a_millisecond():
    texts = [f"{n}{'1-' * 500} * * * *" for n in range(50)] + [
        f"{n},{'1,' * 200}x * * * *" for n in range(50)
    ]
    begun = time.process_time()
    for text in texts:
        with pytest.raises(ScheduleError):
            Schedule.parse(text)
    assert (time.process_time() - begun) / len(texts) < 0.001


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("*/35 * * * *", 35 * 60),
        ("0 9-17 * * *", 16 * 3600),
        ("30 2 * * *", 86_400),
        ("0 9 * * 1-5", 3 * 86_400),
        ("0 0 1 * *", 31 * 86_400),
        ("0 0 29 2 *", 1461 * 86_400),
        ("*/10 8 1 1 *", (366 * 24 * 60 - 50) * 60),
        ("@every 90s", 90),
        ("0 0 31 2 *", None),
    ],
)
def test_the_longest_gap_is_the_widest_hole_of_the_schedule(text, seconds):
    found = Schedule.parse(text, "Europe/Berlin").longest_gap_seconds(datetime(2026, 1, 1, tzinfo=UTC))
    assert found == seconds


@given(text=st.sampled_from([text for text in TEXTS if "2 *" not in text]), instant=instants)
def test_no_gap_between_runs_in_utc_is_longer_than_the_longest(text, instant):
    schedule = Schedule.parse(text, "UTC", "job")
    longest = schedule.longest_gap_seconds(instant)
    at = schedule.next_after(instant)
    for _ in range(20):
        following = schedule.next_after(at)
        if following - instant > timedelta(days=8 * 365):
            break
        assert (following - at).total_seconds() <= longest
        at = following
