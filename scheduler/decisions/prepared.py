"""Prepared decisions: those of the coming seconds, made before their instant (spec: reliability.md §4).

At the instant only bytes are sent; 10,000 due at once take seconds otherwise.

An optimisation, and only that: what was prepared is used if the job's cursor is still the one that it was made
from and nothing else is due; otherwise the job is planned as if it had never been here.
"""

from datetime import datetime, timedelta

from kuber_cron.scheduler.decisions.dispatcher import BatchItem
from kuber_cron.scheduler.decisions.due_queue import DueQueue

# So long before its instant a decision is prepared, which takes about 0.1 ms; and at most so many are kept
# (about 2 KB each, for as long).
LOOKAHEAD = timedelta(seconds=30)
LIMIT = 100_000
# Prepared in one go, about 2 ms, so that the loop is never late for an instant because of a later one.
SLICE = 20
# A decision later than this is planned anew: policies about lateness are the planner's.
_ON_TIME = timedelta(seconds=1)


class PreparedDecisions:
    """The prepared decisions by job. Not safe for several threads; the deciding loop owns it."""

    def __init__(self) -> None:
        self._coming = DueQueue()
        self._ready: dict[str, tuple[BatchItem, datetime | None]] = {}

    def clear(self) -> None:
        """Forget everything: the jobs, their keys or the term have changed."""
        self._coming.clear()
        self._ready.clear()

    def expect(self, job: str, at: datetime | None) -> None:
        """Prepare the job's decision in time for ``at``; None for never."""
        self._ready.pop(job, None)
        self._coming.put(job, None if at is None else at - LOOKAHEAD)

    def next_at(self) -> datetime | None:
        """Return when there is something to prepare; None while there is nothing, or no room."""
        return self._coming.next_at() if len(self._ready) < LIMIT else None

    def to_prepare(self, now: datetime) -> list[str]:
        """Take out a few jobs whose decision is to be prepared now, soonest first."""
        return self._coming.due(now, SLICE)

    def keep(self, job: str, item: BatchItem, wake_at: datetime | None) -> None:
        """Keep the job's next decision, ready to be sent, and when the job is due after it."""
        self._ready[job] = (item, wake_at)

    def take(self, job: str, stored: str, now: datetime) -> tuple[BatchItem, datetime | None] | None:
        """Take out what was prepared for the job, if it is still right: its cursor is ``stored``, and nothing else is due."""
        found = self._ready.pop(job, None)
        if found is None:
            return None
        item, wake_at = found
        decision = item.decision
        if decision.believed != stored or not decision.due_at <= now <= decision.due_at + _ON_TIME:
            return None
        return found if wake_at is None or wake_at > now else None
