"""Schedules: from the text of a crontab's five fields to the next instant to run at (cron.md §1 and §2).

``Schedule.next_after`` is the whole contract: stateless, strictly increasing, aware UTC. It never reads a
clock. Days come from ``day_matching``, times of day from the sets of the fields, the zone's jumps from ``timezones``:

* wildcard schedules, whose minute or hour text begins with ``*``, match the wall clock in every real minute;
* fixed schedules run once per named time: not again in a repeated interval, and in the first whole minute
  after a gap if it skipped a named time;
* a gap of three hours or more, or a repetition of more than three hours, is a correction of the clock:
  nothing is made up for and nothing is left out.

What is not promised: that an instant stays what it is when a new tz database moves it. A schedule keeps the zone
it was parsed with; a reload parses again (rule 10).
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from kuber_cron.common.schedule import day_matching, expression, fields, timezones
from kuber_cron.common.schedule.day_matching import DayRule
from kuber_cron.common.schedule.errors import ScheduleError
from kuber_cron.common.schedule.field_spec import FIELD_SPECS
from kuber_cron.common.schedule.fields import Field
from kuber_cron.common.schedule.timezones import (
    CORRECTION_SECONDS,
    EPOCH,
    FIRST_INSTANT,
    LAST_INSTANT,
    LONGEST_JUMP_SECONDS,
    Span,
    Zone,
)

__all__ = ["Schedule", "ScheduleError"]

ScheduleKind = Literal["cron", "every", "reboot", "after"]

_MINUTES_A_DAY = 1440
_NAIVE_EPOCH = EPOCH.replace(tzinfo=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    """The meaning of a text, whatever the zone; shared by all schedules of the same text.

    Attributes:
        every_seconds: The period of ``@every``, else 0.
        fields: The values of each field by its name; empty where there are none.
        days: The matching days, of kind ``cron`` only.
        is_fixed: Whether skipped and repeated times are evened out (rule 4); else the wall clock rules.
    """

    text: str
    kind: ScheduleKind
    every_seconds: int = 0
    fields: Mapping[str, frozenset[int | str]] = field(default_factory=lambda: MappingProxyType({}))
    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: DayRule | None = None
    is_fixed: bool = False

    def first_minute(self, minute: int) -> int | None:
        """Return the first matching wall minute at or after ``minute``, both counted from 1970-01-01 00:00."""
        if self.days is None:
            return None
        day, time = divmod(minute, _MINUTES_A_DAY)
        found = self.days.first(day)
        if found == day:
            hour, minute_of_hour = divmod(time, 60)
            at = bisect_left(self.hours, hour)
            if at < len(self.hours) and self.hours[at] == hour:
                place = bisect_left(self.minutes, minute_of_hour)
                if place < len(self.minutes):
                    return day * _MINUTES_A_DAY + hour * 60 + self.minutes[place]
                at += 1
            if at < len(self.hours):
                return day * _MINUTES_A_DAY + self.hours[at] * 60 + self.minutes[0]
            found = self.days.first(day + 1)
        if found is None:
            return None
        return found * _MINUTES_A_DAY + self.hours[0] * 60 + self.minutes[0]


class Schedule:
    """A schedule in a time zone. Immutable, and safe to share between threads."""

    __slots__ = ("_meaning", "_zone")

    def __init__(self, meaning: _Meaning, zone: Zone) -> None:
        self._meaning = meaning
        self._zone = zone

    @classmethod
    def parse(cls, text: str, timezone: str = "UTC", job_id: str = "") -> "Schedule":
        """Return the schedule that the text means in that zone; ``H`` and ``~`` are spread by the job's id.

        Raises:
            ScheduleError: The text or the zone cannot be understood. Nothing else is raised for any text.
        """
        # Only these two signs depend on the job, so all other jobs of the same text share one meaning.
        meaning = _meaning(text, job_id if "H" in text or "~" in text else "")
        return cls(meaning, timezones.find(timezone))

    @property
    def text(self) -> str:
        """The text with its blanks collapsed; parsing it again gives an equal schedule."""
        return self._meaning.text

    @property
    def timezone(self) -> str:
        """The IANA name of the zone it is evaluated in."""
        return self._zone.name

    @property
    def is_current(self) -> bool:
        """True if its zone is what the tz database has now; if not, parse it again (rule 10)."""
        return timezones.is_current(self._zone)

    @property
    def fields(self) -> Mapping[str, frozenset[int | str]]:
        """The values of each field by its name, ``minute`` to ``day-of-week``; empty for ``@every`` and the like."""
        return self._meaning.fields

    @property
    def kind(self) -> ScheduleKind:
        """The kind: ``cron`` has times, ``every`` a period, ``reboot`` and ``after`` no times of their own."""
        return self._meaning.kind

    @property
    def never(self) -> bool:
        """True if no time can ever match (31 February), decided from the sets."""
        return self._meaning.days is not None and self._meaning.days.never

    @property
    def is_fixed(self) -> bool:
        """True if it names times of day, so that the zone's gaps and repetitions are evened out (rule 4)."""
        return self._meaning.is_fixed

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first run strictly later than an aware instant, as aware UTC in whole seconds; None is never.

        Raises:
            ValueError: The instant is naive.
        """
        after = max(timezones.seconds_since_epoch(instant), FIRST_INSTANT - 1)
        found = self._next(after)
        return None if found is None or found > LAST_INSTANT else EPOCH + timedelta(seconds=found)

    def named_within(self, start: datetime, end: datetime) -> datetime | None:
        """Return the first local time that matches in [start, end), all naive; for the lint of gaps and folds."""
        minute = self._meaning.first_minute(-(-(start - _NAIVE_EPOCH) // timedelta(minutes=1)))
        if minute is None:
            return None
        try:
            found = _NAIVE_EPOCH + timedelta(minutes=minute)
        except OverflowError:
            return None
        return found if found < end else None

    def longest_gap_seconds(self, start: datetime) -> float | None:
        """Return the longest time between two runs that the sets allow, in seconds; None if there are no two.

        An estimate for the dead man's switch, bounded in cost: the longest stretch of days without a match in
        the eight years after ``start``, and the widest hole between the times of day. It is in wall time, so a
        jump of the zone can add its own size.
        """
        meaning = self._meaning
        if meaning.kind == "every":
            return float(meaning.every_seconds)
        if meaning.days is None:
            return None
        stretch = meaning.days.longest_stretch(timezones.seconds_since_epoch(start) // 86_400)
        if stretch is None:
            return None
        return 60.0 * _widest_hole(meaning.minutes, meaning.hours, stretch)

    def _next(self, after: int) -> int | None:
        meaning = self._meaning
        if meaning.every_seconds:
            return (after // meaning.every_seconds + 1) * meaning.every_seconds
        earliest = after + 1
        while earliest <= LAST_INSTANT:
            span = self._zone.span(earliest)
            if meaning.is_fixed and span.offset > span.before:
                made_up_for = self._after_gap(span)
                if made_up_for is not None and made_up_for >= earliest:
                    return made_up_for
            start = max(earliest, span.unrepeated_from) if meaning.is_fixed else earliest
            minute = meaning.first_minute(-(-(start + span.offset) // 60))
            if minute is None:
                return None
            found = minute * 60 - span.offset
            if found < span.end:
                return found
            # A sparse schedule need not visit every span: clocks that go back show again what was searched
            # already, unless they do so within the longest jump; and that long before a wall time none can touch it.
            is_soon = span.end - earliest < LONGEST_JUMP_SECONDS
            earliest = span.end if is_soon else max(span.end, found - LONGEST_JUMP_SECONDS)
        return None

    def _after_gap(self, span: Span) -> int | None:
        """Return the first whole minute after the gap that the span begins with, if a named time was skipped."""
        if span.offset - span.before >= CORRECTION_SECONDS:
            return None
        skipped = self._meaning.first_minute(-(-(span.start + span.before) // 60))
        if skipped is None or skipped * 60 >= span.start + span.offset:
            return None
        return -(-(span.start + span.offset) // 60) * 60 - span.offset

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return (self.text, self.timezone, self.fields) == (other.text, other.timezone, other.fields)

    def __hash__(self) -> int:
        return hash((self.text, self.timezone))

    def __repr__(self) -> str:
        return f"Schedule.parse({self.text!r}, {self.timezone!r})"


# As many as a large installation has texts: each is asked for twice, by the file's reader and by whoever plans its job.
@lru_cache(maxsize=131_072)
def _meaning(text: str, job_id: str) -> _Meaning:
    words = expression.split(text)
    collapsed = " ".join(word for word, _ in words)
    if words[0][0].startswith("@"):
        name = expression.nickname(words)
        if name in ("@reboot", "@after"):
            return _Meaning(text=collapsed, kind="reboot" if name == "@reboot" else "after")
        if name == "@every":
            return _Meaning(text=collapsed, kind="every", every_seconds=expression.every_seconds(words))
        words = expression.split(expression.NICKNAMES[name])
    expression.require_five(words)
    parsed = []
    for spec, (word, offset) in zip(FIELD_SPECS, words, strict=True):
        try:
            parsed.append(fields.parse(spec, word, job_id))
        except ScheduleError as error:
            error.offset += offset
            raise
    return _cron(collapsed, parsed)


def _cron(text: str, parsed: list[Field]) -> _Meaning:
    minute, hour, day, month, weekday = parsed
    rule = day_matching.rule(
        day.values, month.values, weekday.values, must_match_both=day.is_starred or weekday.is_starred
    )
    return _Meaning(
        text=text,
        kind="cron",
        fields=MappingProxyType(
            {spec.about: part.values for spec, part in zip(FIELD_SPECS, parsed, strict=True)}
        ),
        minutes=_sorted(minute),
        hours=_sorted(hour),
        days=rule,
        is_fixed=not (minute.is_starred or hour.is_starred),
    )


def _sorted(part: Field) -> tuple[int, ...]:
    return tuple(sorted(value for value in part.values if isinstance(value, int)))


def _widest_hole(minutes: tuple[int, ...], hours: tuple[int, ...], stretch_days: int) -> int:
    """Return the most minutes between two times of day, over midnight and ``stretch_days`` included."""
    last, first = hours[-1] * 60 + minutes[-1], hours[0] * 60 + minutes[0]
    within_hour = max((b - a for a, b in pairwise(minutes)), default=0)
    between_hours = max((b - a for a, b in pairwise(hours)), default=0)
    over_hours = between_hours * 60 - (minutes[-1] - minutes[0]) if between_hours else 0
    return max(within_hour, over_hours, stretch_days * _MINUTES_A_DAY - last + first)
