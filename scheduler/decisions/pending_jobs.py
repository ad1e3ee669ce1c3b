"""Pending jobs: when each is planned next, what of that is prepared, and which wait for others. Pure.

A job whose decision was not applied is *unapplied* until one is: its dependents wait meanwhile, because they must be
decided after it.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from kuber_cron.scheduler.decisions.due_queue import DueQueue
from kuber_cron.scheduler.decisions.prepared import PreparedDecisions

# Edited jobs that are planned in one turn: what is due meanwhile waits no longer than for these, some 0.1 s.
EDITS_A_TURN = 500


class PendingJobs:
    """Owned by the deciding loop.

    Attributes:
        due: When each job is planned next.
        prepared: The decisions of the coming seconds.
    """

    def __init__(self) -> None:
        self.due = DueQueue()
        self.prepared = PreparedDecisions()
        self._edited: dict[str, None] = {}  # to be planned anew, the oldest edit first
        self._unapplied: set[str] = set()
        self._planned_as_of: dict[
            str, datetime
        ] = {}  # when a job was planned that waits for its predecessors

    def clear(self) -> None:
        """Forget every job."""
        self.due.clear()
        self.prepared.clear()
        self._edited.clear()
        self._unapplied.clear()
        self._planned_as_of.clear()

    def plan_anew(self, job: str, at: datetime | None) -> None:
        """Plan the job at ``at`` (None: never) as if nothing were known of it but its cursor."""
        self.due.put(job, at)
        self.prepared.expect(job, None)
        self._edited.pop(job, None)
        self._unapplied.discard(job)
        self._planned_as_of.pop(job, None)

    def edited(self, job: str) -> None:
        """Note that the job is another. It is planned anew in one of the next turns; its instants are decided until then."""
        self.prepared.expect(job, None)
        self._edited[job] = None

    @property
    def has_edits(self) -> bool:
        """Edited jobs wait to be planned anew."""
        return bool(self._edited)

    def plan_some_edited(self, at: datetime) -> None:
        """Plan the next of the edited jobs at ``at``, a few hundred a turn."""
        for job in list(islice(self._edited, EDITS_A_TURN)):
            self.plan_anew(job, at)

    def expect(self, following: list[tuple[str, datetime | None]]) -> None:
        """Plan these jobs then, and prepare their decisions before; empties the list."""
        for job, at in following:
            self.due.put(job, at)
            self.prepared.expect(job, at)
        following.clear()

    # --- jobs that wait ------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """No job is unapplied, and none waits for a predecessor."""
        return not self._unapplied and not self._planned_as_of and not self._edited

    def not_applied(self, job: str) -> None:
        """Note that the job has a decision that was not applied: its dependents wait."""
        self._unapplied.add(job)

    def applied(self, job: str) -> None:
        """Note that nothing of the job is left to be applied."""
        self._unapplied.discard(job)

    def is_unapplied(self, job: str) -> bool:
        """Return True while the job has a decision that was not applied."""
        return job in self._unapplied

    def waits_for_any(self, predecessors: Sequence[str]) -> bool:
        """Return True while one of these jobs has a decision that was not applied."""
        return bool(predecessors) and not self._unapplied.isdisjoint(predecessors)

    def planned_as_of(self, job: str, now: datetime) -> datetime:
        """Return as of when the job is planned: now, or when it began to wait for its predecessors."""
        return self._planned_as_of.pop(job, now)

    def wait(self, job: str, as_of: datetime, until: datetime) -> None:
        """Plan the job at ``until``, as of the instant at which it should have been."""
        self._planned_as_of[job] = as_of
        self.due.put(job, until)

    # --- when to wake --------------------------------------------------------------------------------

    def is_time_to_prepare(self, now: datetime) -> bool:
        """Return True where decisions are to be prepared and nothing is due."""
        due_at, prepare_at = self.due.next_at(), self.prepared.next_at()
        return prepare_at is not None and prepare_at <= now and (due_at is None or due_at > now)

    def next_at(self) -> datetime | None:
        """Return when something is due or to be prepared, None for never."""
        moments = [at for at in (self.due.next_at(), self.prepared.next_at()) if at is not None]
        return min(moments, default=None)
