"""Jobs that have left the files: their cursors are dropped once the files have settled. Pure.

Replicas see an edit up to two minutes apart, and one that does not know a job yet must not forget it for the others.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime

from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.planner import Decision

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
        self, cursor_of: Callable[[str], str], *, loaded_at: datetime, settled_seconds: float, now: datetime
    ) -> Iterator[Decision]:
        """Yield the decisions that remove the jobs, once the files have settled; each job's are asked for once."""
        if not self._jobs or settled_seconds < self._after_seconds:
            return
        for job in sorted(self._jobs):
            for decision in planner.plan_removal(job, cursor_of(job), min(loaded_at, now), now):
                if decision.kind == "drop":
                    self._unanswered.add(job)
                yield decision
        self._jobs = set()
