"""The schedule engine against a cron that is simulated minute by minute.

The oracle below shares nothing with the engine. It steps through real time with zoneinfo alone, looks at the
wall clock of each whole minute, and does what cron.md §1 says a cron does there, as Debian's does: it knows
the minute before and the latest wall time so far, and nothing of spans, blocks or croniter. Expressions are
made as predicates together with their text, so the parser is judged too.

KUBER_CRON_ORACLE_CASES multiplies the number of cases for a long run.
"""

import calendar
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuber_cron.common.schedule import Schedule, timezones

CASES = int(os.environ.get("KUBER_CRON_ORACLE_CASES", "150"))
MINUTE = timedelta(minutes=1)
THREE_HOURS = timedelta(hours=3)

Matches = Callable[[datetime], bool]


@dataclass(frozen=True)
class Part:
    """One field: its text, and what it says of a local time."""

    text: str
    matches: Matches

    @property
    def is_starred(self) -> bool:
        return self.text[0] in "*?"


@dataclass(frozen=True)
class Expression:
    minute: Part
    hour: Part
    day: Part
    month: Part
    weekday: Part

    @property
    def text(self) -> str:
        return " ".join(part.text for part in (self.minute, self.hour, self.day, self.month, self.weekday))

    @property
    def is_wildcard(self) -> bool:
        return self.minute.text.startswith("*") or self.hour.text.startswith("*")

    def matches(self, local: datetime) -> bool:
        if not (self.minute.matches(local) and self.hour.matches(local) and self.month.matches(local)):
            return False
        day, weekday = self.day.matches(local), self.weekday.matches(local)
        return (day and weekday) if self.day.is_starred or self.weekday.is_starred else (day or weekday)


def simulated_runs(
    expression: Expression, zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[datetime]:
    """The runs in (start, end), by living through every minute from a good while before."""
    instant = start - timedelta(hours=30)
    before: datetime | None = None  # the local time of the whole minute before this one
    offset_before = timedelta(0)
    latest: datetime | None = None  # the latest local minute lived through; None after a correction
    while instant < end:
        aware = instant.astimezone(zone)
        local, offset = aware.replace(tzinfo=None, fold=0), aware.utcoffset()
        assert offset is not None
        if local.second:
            instant += timedelta(seconds=60 - local.second)
            continue
        is_due = expression.matches(local)
        if not expression.is_wildcard and before is not None:
            jump = offset - offset_before
            if jump > timedelta(0) and jump < THREE_HOURS:
                skipped = before + MINUTE
                while skipped < local:
                    is_due = is_due or expression.matches(skipped)
                    skipped += MINUTE
            if jump >= THREE_HOURS or jump < -THREE_HOURS:
                latest = None
            if latest is not None and local <= latest:
                is_due = False
        if is_due and instant > start:
            yield instant
        latest = local if latest is None else max(latest, local)
        before, offset_before = local, offset
        instant += MINUTE


def numbers(low: int, high: int, read: Callable[[datetime], int]) -> st.SearchStrategy[Part]:
    """A plain field: star, steps, ranges and lists, with the set of its values worked out by hand."""

    def part(text: str, values: frozenset[int]) -> Part:
        return Part(text, lambda local: read(local) in values)

    everything = frozenset(range(low, high + 1))
    single = st.integers(low, high)
    star = st.just(part("*", everything))
    starred_step = st.integers(1, high + 3).map(lambda n: part(f"*/{n}", frozenset(range(low, high + 1, n))))
    lists = st.lists(single, min_size=1, max_size=4).map(
        lambda some: part(",".join(map(str, some)), frozenset(some))
    )
    open_step = st.tuples(single, st.integers(1, 20)).map(
        lambda t: part(f"{t[0]}/{t[1]}", frozenset(range(t[0], high + 1, t[1])))
    )
    ranges = st.tuples(single, single, st.integers(1, 9)).map(
        lambda t: part(
            f"{min(t[:2])}-{max(t[:2])}" + (f"/{t[2]}" if t[2] > 1 else ""),
            frozenset(range(min(t[:2]), max(t[:2]) + 1, t[2])),
        )
    )
    return st.one_of(star, lists, ranges, starred_step, open_step)


def last_day(local: datetime) -> int:
    return calendar.monthrange(local.year, local.month)[1]


def cron_weekday(local: datetime) -> int:
    return (local.weekday() + 1) % 7


def is_nearest_weekday(local: datetime, wanted: int) -> bool:
    """Whether it is the weekday nearest the day, within its month."""
    day = local.replace(day=min(wanted, last_day(local)))
    near = [day + timedelta(days=d) for d in (0, -1, 1, -2, 2)]
    return next(d for d in near if d.month == local.month and d.weekday() < 5).date() == local.date()


DAY_WORDS = st.one_of(
    st.sampled_from(["L", "l"]).map(lambda text: Part(text, lambda d: d.day == last_day(d))),
    st.sampled_from(["LW", "lw"]).map(lambda text: Part(text, lambda d: is_nearest_weekday(d, 31))),
    st.integers(1, 31).map(lambda n: Part(f"{n}W", lambda d: is_nearest_weekday(d, n))),
    st.just(Part("?", lambda _: True)),
)
WEEKDAY_WORDS = st.one_of(
    st.integers(0, 7).map(
        lambda w: Part(f"{w}L", lambda d: cron_weekday(d) == w % 7 and d.day > last_day(d) - 7)
    ),
    st.tuples(st.integers(0, 7), st.integers(1, 5)).map(
        lambda t: Part(
            f"{t[0]}#{t[1]}", lambda d: cron_weekday(d) == t[0] % 7 and (d.day - 1) // 7 + 1 == t[1]
        )
    ),
    st.sampled_from([("sun", 0), ("Mon", 1), ("TUE", 2), ("7", 0), ("6-7", None)]).map(
        lambda t: Part(t[0], lambda d: cron_weekday(d) in ({t[1]} if t[1] is not None else {6, 0}))
    ),
    st.just(Part("?", lambda _: True)),
)
STAR = Part("*", lambda _: True)

times_of_day = st.one_of(numbers(0, 23, lambda d: d.hour), st.just(STAR))
expressions = st.builds(
    Expression,
    minute=numbers(0, 59, lambda d: d.minute),
    hour=times_of_day,
    # Mostly every day, else few of the windows would hold a run.
    day=st.one_of(st.just(STAR), st.just(STAR), numbers(1, 31, lambda d: d.day), DAY_WORDS),
    month=st.one_of(st.just(STAR), st.just(STAR), numbers(1, 12, lambda d: d.month)),
    weekday=st.one_of(st.just(STAR), st.just(STAR), numbers(0, 6, cron_weekday), WEEKDAY_WORDS),
)

# Every kind of jump there is: half hours, seconds, whole days, midnights, negative summer time, Ramadans,
# exactly three hours, and laws that go on after the table's end.
ZONES = (
    *("UTC", "Europe/Berlin", "Europe/Dublin", "Europe/London", "Europe/Amsterdam", "Europe/Lisbon"),
    *("America/New_York", "America/Havana", "America/Santiago", "America/Sao_Paulo", "America/St_Johns"),
    *("America/Caracas", "America/Nuuk", "America/Scoresbysund", "America/Juneau", "America/Boa_Vista"),
    *("Africa/Cairo", "Africa/Casablanca", "Africa/Juba", "Africa/Monrovia", "Africa/Windhoek"),
    *("Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Manila", "Asia/Pyongyang", "Asia/Tehran"),
    *("Asia/Singapore", "Atlantic/Azores", "Australia/Lord_Howe", "Australia/Sydney", "Australia/Eucla"),
    *(
        "Antarctica/Casey",
        "Antarctica/Troll",
        "Antarctica/Vostok",
        "Antarctica/Davis",
        "Antarctica/Macquarie",
    ),
    *("Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Kwajalein", "Pacific/Norfolk"),
)


@st.composite
def windows(draw: st.DrawFn, of: tuple[str, ...] = ZONES) -> tuple[str, datetime, datetime]:
    """A zone, and some hours about one of its jumps."""
    name = draw(st.sampled_from(of))
    year = draw(st.one_of(st.integers(1880, 2199), st.integers(1990, 2045)))
    jumps = timezones.find(name).jumps(
        datetime(year, 1, 1, tzinfo=UTC), datetime(year + 12, 1, 1, tzinfo=UTC)
    )
    at = draw(st.sampled_from(jumps)).at if jumps else datetime(year, 3, 31, 1, tzinfo=UTC)
    start = at + timedelta(seconds=draw(st.integers(-26 * 3600, 5 * 3600)))
    return name, start, start + timedelta(hours=draw(st.integers(6, 34)))


def runs(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    found = []
    at = schedule.next_after(start)
    while at is not None and at < end:
        found.append(at)
        at = schedule.next_after(at)
    return found


@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(expression=expressions, window=windows())
def test_the_runs_about_a_jump_are_those_of_a_cron_that_lives_through_it(expression, window):
    name, start, end = window
    simulated = list(simulated_runs(expression, ZoneInfo(name), start, end))
    assert runs(Schedule.parse(expression.text, name), start, end) == simulated


@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(data=st.data(), window=windows())
def test_times_named_within_a_jump_run_as_in_a_cron_that_lives_through_it(data, window):
    """Aimed: one to three times of day within four hours of the jump, where the rules bite."""
    name, start, end = window
    zone = timezones.find(name)
    jumps = zone.jumps(start, end)
    local = jumps[0].local_range[0] if jumps else start.replace(tzinfo=None)
    near = [
        local + timedelta(minutes=m)
        for m in data.draw(st.lists(st.integers(-70, 240), min_size=1, max_size=3))
    ]
    hours, minutes = {d.hour for d in near}, {d.minute for d in near}
    hour = data.draw(st.sampled_from([",".join(map(str, sorted(hours))), "*", f"{min(hours)}-{max(hours)}"]))
    minute = data.draw(st.sampled_from([",".join(map(str, sorted(minutes))), "*/15", f"{min(minutes)}/7"]))
    hour_values = {"*": set(range(24)), f"{min(hours)}-{max(hours)}": set(range(min(hours), max(hours) + 1))}
    minute_values = {"*/15": {0, 15, 30, 45}, f"{min(minutes)}/7": set(range(min(minutes), 60, 7))}
    at_minutes, at_hours = minute_values.get(minute, minutes), hour_values.get(hour, hours)
    expression = Expression(
        Part(minute, lambda d: d.minute in at_minutes),
        Part(hour, lambda d: d.hour in at_hours),
        STAR,
        STAR,
        STAR,
    )
    simulated = list(simulated_runs(expression, ZoneInfo(name), start, end))
    assert runs(Schedule.parse(expression.text, name), start, end) == simulated


@pytest.mark.parametrize(
    ("zone", "text", "start", "expected"),
    [
        # Spring: 02:00 becomes 03:00. A skipped time runs at 03:00, and meets the one named there.
        ("Europe/Berlin", "30 2 * * *", "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("Europe/Berlin", "0,30 2,3 * * *", "2026-03-29T00:59", ["2026-03-29T01:00", "2026-03-29T01:30"]),
        # Autumn: 03:00 becomes 02:00. A fixed job runs once, a wildcard one in both passes.
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("Europe/Berlin", "30 * * * *", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30"]),
        # A gap of exactly three hours is a correction: 02:30 is lost that day.
        ("Antarctica/Casey", "30 2 * * *", "2009-10-17T17:00", ["2009-10-18T15:30", "2009-10-19T15:30"]),
        # A repetition of exactly three hours is not: once.
        ("Antarctica/Casey", "30 0 * * *", "2010-03-04T12:00", ["2010-03-04T13:30", "2010-03-05T16:30"]),
        # Samoa had no 30 December 2011.
        ("Pacific/Apia", "0 12 * * *", "2011-12-29T00:00", ["2011-12-29T22:00", "2011-12-30T22:00"]),
        # Kwajalein lived through no 21 August 1993 either.
        ("Pacific/Kwajalein", "0 0 21 8 *", "1993-08-01T00:00", ["1994-08-20T12:00", "1995-08-20T12:00"]),
        # A gap that ends within a minute, 00:00 to 00:44:30: the first whole minute after it.
        ("Africa/Monrovia", "0 0 * * *", "1972-01-06T12:00", ["1972-01-07T00:45", "1972-01-08T00:00"]),
    ],
)
def test_the_rules_for_gaps_and_repetitions_by_example(zone, text, start, expected):
    schedule = Schedule.parse(text, zone)
    at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    found = []
    for _ in expected:
        at = schedule.next_after(at)
        assert at is not None
        found.append(at.isoformat()[:16])
    assert found == expected


def test_the_last_day_that_clocks_begin_anew_an_hour_before_its_end_is_found_again():
    """Juba's clocks went from midnight back to 23:00 on 31 January 2021."""
    start = datetime(2021, 1, 31, 20, 59, 58, tzinfo=UTC)
    assert Schedule.parse("* * L * *", "Africa/Juba").next_after(start) == datetime(
        2021, 1, 31, 21, tzinfo=UTC
    )
