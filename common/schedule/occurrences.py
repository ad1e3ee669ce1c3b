"""Timetables: a schedule within its job's life, asked for the instants around another. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule import Schedule, ScheduleError

_SECOND = timedelta(seconds=1)
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """When a job runs. ``not_before`` and ``not_after`` are its life, both included."""

    schedule: Schedule
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of(cls, job: str, cursor: Cursor, card: JobSummary | None) -> "Occurrences | None":
        """By the schedule and zone of the job's cursor; None where it names no instants, or no longer can be read."""
        name = job if card is None else card.timed_by or job
        try:
            schedule = Schedule.parse(cursor.schedule, cursor.timezone, name)
        except ScheduleError:
            return None
        if schedule.kind not in {"cron", "every"}:
            return None
        if card is None:
            return cls(schedule=schedule)
        return cls(schedule=schedule, not_before=card.not_before, not_after=card.not_after)

    def has(self, at: datetime) -> bool:
        """Whether the instant is one of the schedule's, its life aside."""
        return self.schedule.next_after(at - _SECOND) == at

    def is_alive(self, at: datetime) -> bool:
        """Whether the instant lies in the job's life."""
        return (self.not_before is None or at >= self.not_before) and (
            self.not_after is None or at <= self.not_after
        )

    def after(self, at: datetime) -> datetime | None:
        """The next run later than the instant, or None."""
        start = at if self.not_before is None else max(at, self.not_before - timedelta(microseconds=1))
        found = self.schedule.next_after(start)
        return found if found is not None and self.is_alive(found) else None

    def before(self, at: datetime) -> datetime | None:
        """The last run earlier than the instant, or None: found by halving, for schedules are asked forwards only."""
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
