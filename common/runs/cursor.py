"""Cursors: a job's last decided instant, with the schedule and zone it was decided by (spec: reliability.md §2).

The text form is what Redis stores and what the deciding script compares, byte for byte:
``<seconds since the epoch>|<zone>|<schedule>``.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to and including ``at`` has been decided, by ``schedule`` in ``timezone``."""

    at: datetime
    timezone: str
    schedule: str

    def to_text(self) -> str:
        """The form in Redis."""
        return f"{int(self.at.timestamp())}|{self.timezone}|{self.schedule}"

    @classmethod
    def from_text(cls, text: str) -> "Cursor":
        """The cursor of this text.

        Raises:
            ValueError: The text was not written by ``to_text``.
        """
        seconds, timezone, schedule = text.split("|", 2)
        return cls(datetime.fromtimestamp(int(seconds), UTC), timezone, schedule)

    def moved_to(self, at: datetime) -> "Cursor":
        """The same schedule, decided further."""
        return replace(self, at=at)


def read(cursor: str) -> Cursor | None:
    """A stored cursor, None where it was not written by us."""
    try:
        return Cursor.from_text(cursor)
    except (ValueError, OverflowError, OSError):
        return None


def is_readable(cursor: str) -> bool:
    """Whether a stored cursor was written by us; anything else is a fault to be named, not to be parsed."""
    return read(cursor) is not None


def has_gone_back(stored: str, known: str) -> bool:
    """Whether what Redis holds now is smaller than what it has acknowledged, or gone; never if one is unreadable."""
    if not stored:
        return True
    if not (is_readable(stored) and is_readable(known)):
        return False
    return Cursor.from_text(stored).at < Cursor.from_text(known).at
