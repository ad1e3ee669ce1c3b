"""Instants as people write them: ISO 8601, with an offset or as a local time of a zone. Pure.

A local time can be ambiguous (both passes of a repeated hour are meant) or not exist (the clock jumps over it).
Neither is an error: the reading has all that the text may mean, and a note for people.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from kuber_cron.common import time_format
from kuber_cron.common.errors import UsageError

_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_HINT = "write 2026-03-29T01:00:00Z, or a local time of the job's zone: 2026-03-29T02:30"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantReading:
    """The meaning of an instant's text in a zone.

    Attributes:
        instants: Aware UTC, ascending; two where the local time happens twice. For a time that does not exist
            the last whole second before the jump, so that what follows it includes what the jump moves.
        note: What people should know of it, or None where the text has one plain meaning.
    """

    instants: tuple[datetime, ...]
    note: str | None = None


def parse(text: str, zone: ZoneInfo) -> InstantReading:
    """Return what `text` means; without an offset it is local time in `zone`. A date alone is its midnight.

    Raises:
        UsageError: `text` is no ISO 8601 instant, or lies outside the years 2 to 9998.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f'"{text}" is not an ISO 8601 instant', hint=_HINT) from None
    if not 1 < instant.year < 9999:
        raise UsageError(f'"{text}" lies outside the years 2 to 9998', hint=_HINT)
    if instant.tzinfo is not None:
        return InstantReading(instants=(instant.astimezone(UTC),))
    return _local(instant, zone)


def of_day(text: str, now: datetime, zone: ZoneInfo) -> str:
    """Return `text`, a time of day alone put on the last day on which it has come by now, in `zone`."""
    time = _TIME_OF_DAY.fullmatch(text.strip())
    if time is None:
        return text
    hour, minute, second = (int(part or 0) for part in time.groups())
    local = now.astimezone(zone)
    day = local.date()
    if (hour, minute, second) > (local.hour, local.minute, local.second):
        day -= timedelta(days=1)
    return f"{day.isoformat()}T{hour:02d}:{minute:02d}:{second:02d}"


def _local(naive: datetime, zone: ZoneInfo) -> InstantReading:
    first, second = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return InstantReading(instants=(first,))
    place = f"{naive.isoformat(' ')} in {zone.key}"
    if first < second:
        both = f"{time_format.iso(first)} and {time_format.iso(second)}"
        return InstantReading(instants=(first, second), note=f"{place} happens twice: {both}")
    jump = _jump(second, first, zone)
    moved = f"{(jump - _SECOND).astimezone(zone):%H:%M:%S} is followed by {jump.astimezone(zone):%H:%M:%S}"
    return InstantReading(instants=(jump - _SECOND,), note=f"{place} does not exist: {moved}")


_SECOND = timedelta(seconds=1)


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first whole second with the offset that holds at `after`; `before` is still on the other side."""
    new_offset = after.astimezone(zone).utcoffset()
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == new_offset:
            high = middle
        else:
            low = middle
    return high
