"""Timings: what moves a job's occurrences beside the schedule and the zone that its cursor names (reliability.md §5).

A timing stands beside the cursor, in a key of its own: schedulers of the version before compare all of a cursor's text,
and would take a part that they do not know for an edit whose past nobody decides. They leave it as it is when they edit a
cursor, so it names the schedule and zone that it belongs to, and counts for no other. The text form in Redis is
``<digest of zone and schedule>|<delay in seconds>|<not_before>|<not_after>|<whose name spreads H>``.
"""

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from kuber_cron.common.runs.cursor import Cursor


@dataclass(frozen=True, slots=True)
class Timing:
    """The part of a job that moves its occurrences and that no cursor names.

    Attributes:
        delay: Jitter and random delay, as this job's share of them: due = instant + delay.
        not_before, not_after: The job's life, both ends included.
        spread_by: The job whose name spreads ``H`` and ``~``, ``""`` for the job itself.
    """

    delay: timedelta = timedelta(0)
    not_before: datetime | None = None
    not_after: datetime | None = None
    spread_by: str = ""

    def to_text(self, cursor: Cursor) -> str:
        """Return the form in Redis, beside this cursor."""
        life = (at.isoformat() if at is not None else "" for at in (self.not_before, self.not_after))
        delay = int(self.delay.total_seconds())
        return "|".join((_digest(cursor), str(delay), *life, self.spread_by))


def read(text: str, cursor: Cursor) -> Timing | None:
    """Return the timing of a stored text; None where there is none, or none of this cursor's schedule and zone."""
    try:
        digest, delay, not_before, not_after, spread_by, *_ = text.split("|")
        if digest != _digest(cursor):
            return None
        return Timing(timedelta(seconds=int(delay)), _instant(not_before), _instant(not_after), spread_by)
    except (ValueError, OverflowError):
        return None


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return at


def _digest(cursor: Cursor) -> str:
    return f"{zlib.crc32(f'{cursor.timezone}|{cursor.schedule}'.encode()):08x}"
