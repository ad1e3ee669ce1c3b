"""Job states: when a job runs next, how its last run went, whether it is failing or paused. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.parsing import decimal, number, seconds_as_instant, text
from kuber_cron.common.runs import cursor as cursors
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule.occurrences import Occurrences

ALL = "*"
"""In the place of a job's name, every job."""

STATS = ("last_run_at", "last_outcome", "last_success_at", "last_duration", "failing")
"""The fields of a job's statistics that its state is made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause in force. ``until`` None: until it is resumed. ``of_all``: of every job."""

    until: datetime | None
    of_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One job.

    Attributes:
        job: Its name.
        schedule: Its schedule as it is written.
        timezone: The zone that it is read in.
        next_at: Its next instant; null where there is none, as of ``@reboot``.
        due_at: When that is due, the job's jitter included.
        is_failing: Whether a run has failed for good since its last success.
        failed_run: The run that failed last, while it is failing.
        last_ended_at: When its last run ended.
        last_outcome: How it ended.
        last_seconds: How long its last attempt took.
        last_success_at: When its last successful run ended.
        is_paused: Whether it is paused, by itself or with all jobs.
        paused_until: Until when; null where the pause has no end.
        is_suspended: Whether its file suspends it.
        queue: Where its runs are pushed to; null where no leader has published it yet.
        team: Its team, or null.
        description: What it is for, or null.
        source: The file and line that define it.
        decided_until: Its last decided instant; null where no leader has seen it yet.
    """

    job: str
    schedule: str = ""
    timezone: str = "UTC"
    next_at: datetime | None = None
    due_at: datetime | None = None
    is_failing: bool = False
    failed_run: str | None = None
    last_ended_at: datetime | None = None
    last_outcome: str | None = None
    last_seconds: float | None = None
    last_success_at: datetime | None = None
    is_paused: bool = False
    paused_until: datetime | None = None
    is_suspended: bool = False
    queue: str | None = None
    team: str | None = None
    description: str | None = None
    source: str | None = None
    decided_until: datetime | None = None


def pause_of(job: str, paused: Mapping[str, str], at: datetime) -> Pause | None:
    """The longest pause in force for the job, of ``paused`` as Redis holds it."""
    found = [
        Pause(until=None if until == "0" else _instant_of(until), of_all=name == ALL)
        for name in (job, ALL)
        if (until := paused.get(name)) is not None
    ]
    in_force = [pause for pause in found if pause.until is None or pause.until > at]
    return max(in_force, key=lambda pause: (pause.until is None, pause.until or at), default=None)


def _instant_of(milliseconds: str) -> datetime | None:
    return seconds_as_instant(number(milliseconds) / 1000)


def state_of(
    name: str, cursor_text: str, summary_text: str, pause: Pause | None, stats: Sequence[bytes | None] | None
) -> JobState:
    """Return the job's state by its cursor, summary, pause and ``STATS`` in Redis; an empty text where there is none."""
    ended, outcome, success, seconds, failing = stats or (None,) * len(STATS)
    cursor = cursors.read(cursor_text)
    summary = JobSummary.from_text(summary_text) if summary_text else None
    next_at = _next(name, cursor, summary)
    delay = timedelta(seconds=0.0 if summary is None else summary.delay)
    return JobState(
        job=name,
        schedule=summary.schedule if summary is not None else cursor.schedule if cursor is not None else "",
        timezone=summary.timezone
        if summary is not None
        else cursor.timezone
        if cursor is not None
        else "UTC",
        next_at=next_at,
        due_at=None if next_at is None else next_at + delay,
        is_failing=bool(failing),
        failed_run=text(failing) if failing else None,
        last_ended_at=seconds_as_instant(text(ended)) if ended else None,
        last_outcome=text(outcome) if outcome else None,
        last_seconds=decimal(text(seconds)) if seconds else None,
        last_success_at=seconds_as_instant(text(success)) if success else None,
        is_paused=pause is not None,
        paused_until=None if pause is None else pause.until,
        is_suspended=summary is not None and summary.suspend,
        queue=None if summary is None else summary.queue,
        team=None if summary is None else summary.team,
        description=None if summary is None else summary.description,
        source=None if summary is None else summary.source or None,
        decided_until=None if cursor is None else cursor.at,
    )


def _next(name: str, cursor: Cursor | None, summary: JobSummary | None) -> datetime | None:
    if cursor is None:
        return None
    # Only these two signs depend on the job's name, so most jobs of one schedule share a result.
    is_spread = "H" in cursor.schedule or "~" in cursor.schedule
    life = (None, None) if summary is None else (summary.not_before, summary.not_after)
    return _next_of(
        cursor, (summary.timed_by if summary is not None else "") or name if is_spread else "", *life
    )


@lru_cache(maxsize=4096)
def _next_of(
    cursor: Cursor, name: str, not_before: datetime | None, not_after: datetime | None
) -> datetime | None:
    occurrences = Occurrences.of(cursor.schedule, cursor.timezone, name, not_before, not_after)
    return None if occurrences is None else occurrences.after(cursor.at)
