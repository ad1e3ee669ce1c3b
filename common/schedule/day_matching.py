"""Which days a schedule's day fields match.

A month's days depend on two things only, its length and the weekday of its first day: 28 shapes. croniter is
asked which days of a shape an atom of a day field matches (``15``, ``"L"``, ``"15W"``, ``"2#1"``), in the one
mode it is exact in: naive datetimes and a canonical expression with one restricted field. The answers are
kept as bit masks for all schedules; and, or and the months are applied here, by cron.md §1 rule 2. So
croniter's cost is bounded by 28 shapes times the atoms in use, however many jobs and years are asked about.

Days are counted from 1970-01-01; bit n of a mask is day n + 1 of the month; weekdays count from Sunday, 0.
"""

import calendar
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import cast

from croniter import croniter

from kuber_cron.common.schedule.field_spec import DAY, WEEKDAY

EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST_DAY = date.min.toordinal() - EPOCH_DAY
_LAST_DAY = date.max.toordinal() - EPOCH_DAY
_MONTH_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LENGTHS = {month: (length,) for month, length in enumerate(_MONTH_LENGTHS) if month} | {2: (28, 29)}
_FEBRUARY = 2
_ALL_DAYS = frozenset(DAY.all_values)
_ALL_WEEKDAYS = frozenset(WEEKDAY.all_values)

Atoms = frozenset[int | str]


class DayRule:
    """The days that match the day and month fields. Safe to share between threads.

    Attributes:
        never: Whether no day of any year matches, as in 31 February.
        is_every_day: Whether all days match.
    """

    __slots__ = (
        "_answer",
        "_days",
        "_masks",
        "_months",
        "_must_match_both",
        "_weekdays",
        "is_every_day",
        "never",
    )

    def __init__(self, days: Atoms, months: Atoms, weekdays: Atoms, *, must_match_both: bool) -> None:
        self._days = days
        self._months = months
        self._weekdays = weekdays
        self._must_match_both = must_match_both
        self._masks: dict[tuple[int, int], int] = {}
        # The last question's answer, good for each day between the two: jobs ask about the same days again
        # and again, and a sparse rule searches decades. One tuple, so a thread sees all of it or none.
        self._answer: tuple[int, int] = (0, -1)
        full = (days == _ALL_DAYS, weekdays == _ALL_WEEKDAYS)
        self.is_every_day = len(months) == 12 and (all(full) if must_match_both else any(full))
        self.never = not self.is_every_day and self._can_never_match()

    def first(self, day: int) -> int | None:
        """Return the first matching day at or after ``day``, or None up to the end of the year 9999."""
        if self.is_every_day:
            return max(day, _FIRST_DAY) if day <= _LAST_DAY else None
        asked, answer = self._answer
        if asked <= day <= answer:
            return answer
        if self.never or day > _LAST_DAY:
            return None
        found = self._search(max(day, _FIRST_DAY))
        if found is not None:
            self._answer = (day, found)
        return found

    def longest_stretch(self, day: int) -> int | None:
        """Return the most days from one match to the next, seen over the eight years after ``day``, or None.

        Eight years hold a leap day wherever they begin but around 1900, 2100 and their like. Rules that match
        less than twice in them are judged by their next two matches.
        """
        previous = self.first(day)
        longest = None
        while previous is not None:
            following = self.first(previous + 1)
            if following is None:
                break
            longest = max(longest or 0, following - previous)
            if longest == 1 and self.is_every_day:
                break
            if following > day + 8 * 366:
                break
            previous = following
        return longest

    def _search(self, day: int) -> int | None:
        start = date.fromordinal(day + EPOCH_DAY)
        year, month = start.year, start.month
        first_weekday = (start.isoweekday() - (start.day - 1)) % 7
        first_day = day - (start.day - 1)
        skipped = start.day - 1
        while year <= date.max.year:
            length = 29 if month == _FEBRUARY and calendar.isleap(year) else _MONTH_LENGTHS[month]
            if month in self._months and (mask := self._mask(length, first_weekday) >> skipped):
                return first_day + skipped + (mask & -mask).bit_length() - 1
            skipped = 0
            first_day += length
            first_weekday = (first_weekday + length) % 7
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return None

    def _mask(self, length: int, first_weekday: int) -> int:
        mask = self._masks.get((length, first_weekday))
        if mask is None:
            days = _union(self._days, _ALL_DAYS, "0 0 {} * *", length, first_weekday)
            weekdays = _union(self._weekdays, _ALL_WEEKDAYS, "0 0 * * {}", length, first_weekday)
            mask = days & weekdays if self._must_match_both else days | weekdays
            self._masks[length, first_weekday] = mask
        return mask

    def _can_never_match(self) -> bool:
        lengths = {length for month in self._months for length in _LENGTHS[cast("int", month)]}
        plain = [day for day in self._days if isinstance(day, int)]
        if len(plain) == len(self._days) and min(plain) > max(lengths):
            # 31 February, known without a calendar. Beside it a weekday may still match.
            return self._must_match_both or not self._weekdays
        if not self._must_match_both or (
            min(plain, default=99) <= min(lengths)
            and any(isinstance(weekday, int) for weekday in self._weekdays)
        ):
            return False  # each date falls on each weekday in some year
        return not any(self._mask(length, first) for length in lengths for first in range(7))


@lru_cache(maxsize=4096)
def rule(days: Atoms, months: Atoms, weekdays: Atoms, *, must_match_both: bool) -> DayRule:
    """Return the rule for these sets, the same object for equal ones."""
    return DayRule(days, months, weekdays, must_match_both=must_match_both)


def _union(atoms: Atoms, everything: frozenset[int], form: str, length: int, first_weekday: int) -> int:
    if atoms >= everything:
        return (1 << length) - 1
    mask = 0
    for atom in atoms:
        mask |= _ask_croniter(form.format(_spelt_for_croniter(atom)), length, first_weekday)
    return mask


def _spelt_for_croniter(atom: int | str) -> str:
    if atom == "LW":
        return "31W"  # it clamps to the month's last day, as cron.md's nW does
    if isinstance(atom, str) and len(atom) == 2 and atom.endswith("L"):
        return f"L{atom[0]}"
    return str(atom)


# 28 shapes for each of the 64 atoms of day-of-month and 49 of day-of-week: all there can be.
@lru_cache(maxsize=28 * (64 + 49))
def _ask_croniter(expression: str, length: int, first_weekday: int) -> int:
    year, month = _month_like(length, first_weekday)
    start = datetime(year, month, 1)  # noqa: DTZ001 - croniter is exact on naive datetimes only
    matches = croniter(expression, start - timedelta(minutes=1), day_or=True)
    mask = 0
    while True:
        found = matches.get_next(datetime)
        if (found.year, found.month) != (year, month):
            return mask
        mask |= 1 << (found.day - 1)


@lru_cache(maxsize=28)
def _month_like(length: int, first_weekday: int) -> tuple[int, int]:
    """Return a month of that length that begins on that weekday; 28 years hold them all."""
    for year in range(2000, 2028):
        for month in range(1, 13):
            weekday, days = calendar.monthrange(year, month)
            if days == length and (weekday + 1) % 7 == first_weekday:
                return year, month
    raise ValueError(f"no month has {length} days")
