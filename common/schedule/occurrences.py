"""Occurrences of a schedule within its job's life: the following ones, and those around an instant. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kuber_cron.common.schedule.errors import ScheduleError
from kuber_cron.common.schedule.schedule import Schedule

_SECOND = timedelta(seconds=1)
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


def following(
    schedule: Schedule,
    after: datetime,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Iterator[datetime]:
    """Return the schedule's instants later than ``after`` and within a life, both its ends included; without end."""
    if not_before is not None:
        after = max(after, not_before - timedelta(microseconds=1))
    while (at := schedule.next_after(after)) is not None:
        if not_after is not None and at > not_after:
            return
        yield at
        after = at


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """The occurrences of one job. ``not_before`` and ``not_after`` are its life, both included."""

    schedule: Schedule
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of(
        cls,
        schedule: str,
        timezone: str,
        name: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> "Occurrences | None":
        """Return the occurrences of a schedule's text; None where it names no instants, or can no longer be read.

        Args:
            schedule: The text, as a cursor holds it.
            timezone: The IANA zone that it is evaluated in.
            name: The job whose name spreads ``H``.
            not_before: The start of the life, None for none.
            not_after: The end of the life, None for none.
        """
        try:
            parsed = Schedule.parse(schedule, timezone, name)
        except ScheduleError:
            return None
        if parsed.kind not in {"cron", "every"}:
            return None
        return cls(schedule=parsed, not_before=not_before, not_after=not_after)

    def has(self, at: datetime) -> bool:
        """Return True if the instant is one of the schedule's, its life aside."""
        return self.schedule.next_after(at - _SECOND) == at

    def is_alive(self, at: datetime) -> bool:
        """Return True if the instant lies in the job's life."""
        return (self.not_before is None or at >= self.not_before) and (
            self.not_after is None or at <= self.not_after
        )

    def after(self, at: datetime) -> datetime | None:
        """Return the next occurrence later than the instant, or None."""
        return next(following(self.schedule, at, not_before=self.not_before, not_after=self.not_after), None)

    def before(self, at: datetime) -> datetime | None:
        """Return the last occurrence earlier than the instant, or None.

        Found by halving, because schedules are asked forwards only.
        """
        limit = at if self.not_after is None else min(at, self.not_after + _SECOND)
        low, high = _EARLIEST, limit
        first = self.schedule.next_after(low)
        if first is None or first >= limit:
            return None
        while high - low > _SECOND:
            middle = low + timedelta(seconds=max(1, int((high - low).total_seconds()) // 2))
            found = self.schedule.next_after(middle)
            low, high = (middle, high) if found is not None and found < limit else (low, middle)
        last = self.schedule.next_after(low)
        return last if last is not None and last < limit and self.is_alive(last) else None
