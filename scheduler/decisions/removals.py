"""Jobs that have left the files: their cursors are dropped once the files have settled. Pure.

Replicas see an edit up to two minutes apart, and one that does not know a job yet must not forget it for the others.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.runs import timing as timings
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.runs.timing import Timing
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.planner import CatalogEntry, Decision

# A job's removal counts once the files have been as they are for this long.
REMOVAL_SECONDS = 180.0


class Removals:
    """The jobs that have a cursor and are in no file. Owned by the deciding loop."""

    def __init__(self, after_seconds: float = REMOVAL_SECONDS) -> None:
        """``after_seconds``: how long the files have to have been as they are."""
        self._after_seconds = after_seconds
        self._jobs: set[str] = set()
        self._unanswered: set[str] = set()  # their removal was sent, and not answered yet

    @property
    def unanswered(self) -> Collection[str]:
        """The jobs whose cursor may be gone: its drop was sent and has got no answer."""
        return self._unanswered

    @property
    def is_pending(self) -> bool:
        """Jobs wait to be removed."""
        return bool(self._jobs)

    def forget(self) -> None:
        """Forget what was sent, at the end of a term."""
        self._unanswered.clear()

    def replace(self, jobs: set[str]) -> None:
        """These jobs have a cursor and are in no file."""
        self._jobs = jobs

    def retry(self, job: str) -> None:
        """The job's removal was not applied: it is decided again."""
        self._jobs.add(job)

    def answered(self, job: str) -> None:
        """The answer to the job's removal has come."""
        self._unanswered.discard(job)

    def decisions(
        self,
        cursor_of: Callable[[str], str],
        timing_of: Callable[[str], str] = lambda _: "",
        *,
        loaded_at: datetime,
        settled_seconds: float,
        now: datetime,
    ) -> Iterator[Decision]:
        """Yield the decisions that remove the jobs, once the files have settled; each job's are asked for once."""
        if not self._jobs or settled_seconds < self._after_seconds:
            return
        for job in sorted(self._jobs):
            for decision in plan_removal(job, cursor_of(job), min(loaded_at, now), now, timing_of(job)):
                if decision.kind == "drop":
                    self._unanswered.add(job)
                yield decision
        self._jobs = set()


def plan_removal(
    job: str, stored: str, removed_at: datetime, now: datetime, timing: str = ""
) -> tuple[Decision, ...]:
    """Return what becomes of the cursor of a job that left the files at ``removed_at`` (spec: reliability.md §5).

    Its instants up to then that nobody has decided are recorded as ``removed``; then the cursor is dropped, with the
    span in which nothing was decided of it.
    """
    whole_now = now.replace(microsecond=0)
    drop = Decision(
        kind="drop",
        job=job,
        believed=stored,
        cursor="",
        first=min(removed_at.replace(microsecond=0), whole_now),
        last=whole_now,
        reason=SkipReason.REMOVED,
        due_at=whole_now,
    )
    try:
        cursor = Cursor.from_text(stored)
    except (ValueError, OverflowError, OSError):
        return (drop,)
    known = timings.read(timing, cursor) or Timing()
    schedule = planner.schedule_of(cursor, known.spread_by or job)
    if schedule is None:
        return (drop,)
    was = Job(
        id=job, schedule=cursor.schedule, command="", not_before=known.not_before, not_after=known.not_after
    )
    gone = CatalogEntry(was, schedule, known.delay)
    open_ones = planner.skip_span(gone, cursor, stored, removed_at, SkipReason.REMOVED)
    return (drop,) if open_ones is None else (open_ones, replace(drop, believed=open_ones.cursor))
