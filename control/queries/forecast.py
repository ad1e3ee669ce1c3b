"""The coming runs of a job, from its schedule alone. Pure: no clock, no store.

What the store would add (a pause, a run that is held back) is not in here: these are the nominal instants, which
identify the runs. A ``jitter`` or ``RANDOM_DELAY`` moves their start and not their identity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from kuber_cron.common import time_format
from kuber_cron.common.jobs.job import Job, delay_of, timing_job
from kuber_cron.common.schedule import Schedule, occurrences

# Schedules without times of their own, and when their jobs run instead (cron.md §1.9, §3).
_TIMELESS = {
    "reboot": "once at the start: of the installation, of the machine under run",
    "after": "after another job",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The coming runs of one job. `runs` are aware UTC, ascending; `job` is None for a bare expression."""

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
        runs=list(islice(occurrences.following(schedule, after), count)),
        notes=[_TIMELESS[schedule.kind]] if schedule.kind in _TIMELESS else [],
    )


def of_job(job: Job, jobs: Mapping[str, Job], after: datetime, count: int) -> Forecast:
    """Return the next `count` runs of `job` within its life (``not_before``, ``not_after``), later than `after`.

    A job ``@after`` others has the instants of its first predecessor (cron.md §3), which is looked up in `jobs`.
    """
    clock = timing_job(job, jobs.get)
    schedule = Schedule.parse(clock.schedule, timezone=clock.timezone, job_id=clock.id)
    coming = occurrences.following(schedule, after, not_before=job.not_before, not_after=job.not_after)
    return Forecast(
        job=job.id,
        schedule=job.schedule,
        timezone=job.timezone,
        never=schedule.never,
        runs=list(islice(coming, count)),
        notes=_notes(job, clock, schedule, after),
    )


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
        notes.append(f"queued {time_format.span(delay)} later")
    return notes
