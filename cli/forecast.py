"""The coming runs of a job, from its schedule alone. Pure: no clock, no store.

What the store would add (a pause, a run that is held back) is not in here: these are the nominal instants, which
identify the runs. A ``jitter`` or ``RANDOM_DELAY`` moves their start and not their identity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kuber_cron.cli import spans
from kuber_cron.common.jobs import Job
from kuber_cron.common.schedule import Schedule
from kuber_cron.scheduler.planner import delay_of

_INSTANT = timedelta(microseconds=1)  # next_after is strictly later, and a life begins with its first instant

# Schedules without times of their own, and when their jobs run instead (cron.md §1.9, §3).
_TIMELESS = {
    "reboot": "once at the start: of the installation, of the machine under run",
    "after": "after another job",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is to come of one job. `runs` are aware UTC, ascending; `job` is None for a bare expression."""

    job: str | None
    schedule: str
    timezone: str
    never: bool
    runs: Sequence[datetime]
    notes: Sequence[str] = ()


def of_schedule(schedule: Schedule, after: datetime, count: int, *, job: str | None = None) -> Forecast:
    """Return the next `count` runs of `schedule`, each strictly later than `after`."""
    return Forecast(
        job=job,
        schedule=schedule.text,
        timezone=schedule.timezone,
        never=schedule.never,
        runs=_runs(schedule, after, count, until=None),
        notes=[_TIMELESS[schedule.kind]] if schedule.kind in _TIMELESS else [],
    )


def of_job(job: Job, jobs: Mapping[str, Job], after: datetime, count: int) -> Forecast:
    """Return the next `count` runs of `job` within its life (``not_before``, ``not_after``), later than `after`.

    A job ``@after`` others has the instants of its first predecessor (cron.md §3), which is looked up in `jobs`.
    """
    clock = _clock_of(job, jobs)
    schedule = Schedule.parse(clock.schedule, timezone=clock.timezone, job_id=clock.id)
    start = after if job.not_before is None else max(after, job.not_before - _INSTANT)
    return Forecast(
        job=job.id,
        schedule=job.schedule,
        timezone=job.timezone,
        never=schedule.never,
        runs=_runs(schedule, start, count, until=job.not_after),
        notes=_notes(job, clock, schedule, after),
    )


def _runs(schedule: Schedule, after: datetime, count: int, *, until: datetime | None) -> list[datetime]:
    runs: list[datetime] = []
    instant = schedule.next_after(after)
    while instant is not None and len(runs) < count and (until is None or instant <= until):
        runs.append(instant)
        instant = schedule.next_after(instant)
    return runs


def _clock_of(job: Job, jobs: Mapping[str, Job]) -> Job:
    """Return the job whose schedule gives `job` its instants: itself, or its first predecessor's, and so on."""
    seen: set[str] = set()
    while job.schedule == "@after" and job.after and job.after[0] in jobs and job.id not in seen:
        seen.add(job.id)
        job = jobs[job.after[0]]
    return job


def _notes(job: Job, clock: Job, schedule: Schedule, after: datetime) -> list[str]:
    notes = []
    if schedule.kind == "reboot":
        notes.append(_TIMELESS["reboot"])
    if job.suspend:
        notes.append("suspended")
    if clock is not job:
        notes.append(f"with {clock.id}")
    if job.after:
        notes.append(f"after {', '.join(job.after)}")
    if job.not_after is not None and job.not_after <= after:
        notes.append("its life has ended")
    delay = delay_of(job).total_seconds()
    if delay:
        notes.append(f"queued {spans.span(delay)} later")
    return notes
