"""The grammar of a schedule's five fields, and the codes of the errors in them (cron.md §2)."""

from dataclasses import dataclass, field
from enum import StrEnum


class ErrorCode(StrEnum):
    """The kinds of error in a schedule, stable across releases. KC111 is a crontab's missing command."""

    SHAPE = "KC101"
    """The text is empty, or does not have five fields."""
    NICKNAME = "KC102"
    """An unknown nickname, or words after one."""
    OUTSIDE = "KC103"
    """A value is not in the field's range."""
    SYNTAX = "KC104"
    """An item that the grammar does not have."""
    BACKWARDS = "KC105"
    """A range runs backwards."""
    STEP = "KC106"
    """A step of zero."""
    NAME = "KC107"
    """A name or letter where a number belongs, a long name, an unknown name."""
    MISPLACED = "KC108"
    """``L W # ? H`` in a field that does not take it, or written in another way than cron's."""
    LIMIT = "KC109"
    """Longer than the limits allow."""
    DURATION = "KC110"
    """The duration after ``@every``."""
    VARIABLE = "KC112"
    """A variable such as ``CRON_TZ=`` on the schedule's own line."""
    CHARACTER = "KC113"
    """A space or an invisible character that is neither blank nor tab."""
    ZONE = "KC204"
    """An unknown time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """The grammar of one of the five fields.

    Attributes:
        index: Its place, 0 to 4; part of the hash behind ``H`` and ``~``.
        about: Its name in errors.
        low: Its least value.
        high: Its greatest value: 7 for weekdays, where it means Sunday too.
        top: Where ``*``, ``a/n`` and ``a~`` end: 6 for weekdays.
        hash_top: Where a rangeless ``H`` ends: day 28, which every month has.
        names: Lower case three-letter names by value.
    """

    index: int
    about: str
    low: int
    high: int
    top: int
    hash_top: int
    names: dict[str, int] = field(default_factory=dict)

    @property
    def all_values(self) -> frozenset[int]:
        """The values that ``*`` stands for."""
        return frozenset(range(self.low, self.top + 1))


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = {name: number for number, name in enumerate(_MONTHS, start=1)}
WEEKDAYS = {name: number for number, name in enumerate(_WEEKDAYS)}

MINUTE = FieldSpec(index=0, about="minute", low=0, high=59, top=59, hash_top=59)
HOUR = FieldSpec(index=1, about="hour", low=0, high=23, top=23, hash_top=23)
DAY = FieldSpec(index=2, about="day-of-month", low=1, high=31, top=31, hash_top=28)
MONTH = FieldSpec(index=3, about="month", low=1, high=12, top=12, hash_top=12, names=MONTHS)
WEEKDAY = FieldSpec(index=4, about="day-of-week", low=0, high=7, top=6, hash_top=6, names=WEEKDAYS)
FIELD_SPECS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
