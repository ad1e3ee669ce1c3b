"""Cursors: a job's last decided instant, with the schedule and zone it was decided by (spec: reliability.md §2).

The text form is what Redis stores and what the deciding script compares, byte for byte:
``<seconds since the epoch>|<zone>|<schedule>``.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """All occurrences up to and including ``at`` have been decided, by ``schedule`` in ``timezone``."""

    at: datetime
    timezone: str
    schedule: str

    def to_text(self) -> str:
        """Return the form in Redis."""
        return f"{int(self.at.timestamp())}|{self.timezone}|{self.schedule}"

    @classmethod
    def from_text(cls, text: str) -> "Cursor":
        """Return the cursor of this text.

        Raises:
            ValueError: The text was not written by ``to_text``.
        """
        seconds, timezone, schedule = text.split("|", 2)
        return cls(datetime.fromtimestamp(int(seconds), UTC), timezone, schedule)

    def moved_to(self, at: datetime) -> "Cursor":
        """Return the cursor of the same schedule, decided up to ``at``."""
        return replace(self, at=at)


def read(cursor: str) -> Cursor | None:
    """Return the cursor of a stored text; None where it was not written by us."""
    try:
        return Cursor.from_text(cursor)
    except (ValueError, OverflowError, OSError):
        return None


def is_readable(cursor: str) -> bool:
    """Return True if a stored cursor was written by us; any other is reported as a fault, never interpreted."""
    return read(cursor) is not None


def has_gone_back(stored: str, known: str) -> bool:
    """Return True if the stored cursor is gone or behind the one that Redis acknowledged; False if one is unreadable."""
    if not stored:
        return True
    now, before = read(stored), read(known)
    return now is not None and before is not None and now.at < before.at
