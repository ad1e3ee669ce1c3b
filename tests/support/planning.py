"""Jobs and cursors for the tests of what is planned, and what decisions cover."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule import Schedule
from kuber_cron.scheduler.decisions import planner

T0 = datetime(2026, 3, 1, tzinfo=UTC)
FEW = st.sampled_from(["* * * * *", "*/2 * * * *", "*/7 * * * *", "3-50/5 * * * *"])


def made(schedule="* * * * *", **policy):
    job = Job(id="job", schedule=schedule, command="true", **policy)
    return planner.entry(job, Schedule.parse(schedule, job.timezone, job.id))


def cursor(entry, at=T0):
    zone, text = entry.cursor_schedule
    return Cursor(at, zone, text).to_text()


def named(schedule, after, until):
    """The instants of a schedule in (after, until], by the schedule alone."""
    found, parsed = [], Schedule.parse(schedule, "UTC", "job")
    while (at := parsed.next_after(after)) is not None and at <= until:
        found.append(at)
        after = at
    return found


def covered(decisions, schedule):
    """Every instant that the decisions decide, by the schedule they were made with."""
    found = []
    for decision in decisions:
        if decision.kind in {"queue", "skip"}:
            spans = named(schedule, decision.first - timedelta(seconds=1), decision.last)
            assert len(spans) == decision.count
            found.extend(spans)
    return found
