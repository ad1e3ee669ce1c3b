"""Lost state: how a leader notices that Redis has lost writes, and what it decides first then (reliability.md §8).

Two things show a loss: fewer decisions than the lease's record or this process has counted, and a cursor that has gone
back behind one that Redis had acknowledged. The term ends then, and the next one begins with the repair: each job by
its ``on_state_loss``, from the cursors that this process remembers of the term in which it led last.

What it does *not* see: a loss in which the count and every remembered cursor come out as they were. Pure but for the log.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from kuber_cron.common.errors import StateLostError
from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.runs import timing as timings
from kuber_cron.common.runs.cursor import Cursor, has_gone_back, is_readable
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.planner import CatalogEntry, Decision
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RememberedTerm:
    """The knowledge of the term in which this process led last, to compare Redis with at the start of the next.

    It counts only where nobody else has led in between, who may have dealt with a loss and begun anew.

    Attributes:
        epoch: The term's; 0 where this process has not led.
        cursors: Each job's, as Redis had acknowledged it.
        through: How many decisions Redis had counted.
    """

    epoch: int = 0
    cursors: Mapping[str, str] = field(default_factory=dict)
    through: int = 0

    def within(self, term: Term) -> "RememberedTerm":
        """Return what of it counts in this term: all or nothing."""
        return self if self.epoch in {term.epoch, term.epoch - 1} else RememberedTerm()


class StateLoss:
    """Detects losses from term to term, and keeps which jobs have to be repaired. Owned by the deciding loop."""

    def __init__(self) -> None:
        self._remembered = RememberedTerm()
        self._lost_in = 0  # the epoch in which Redis was found to have lost writes, until that is dealt with
        self._compared_in = 0  # the epoch whose record of the lease has been compared with Redis
        self._repairs: dict[
            str, str
        ] = {}  # jobs to be repaired, each with its cursor from before the loss, or ""

    def remember(self, epoch: int, cursors: Mapping[str, str], through: int) -> None:
        """Keep what the term that has just ended knew."""
        self._remembered = RememberedTerm(epoch, cursors, through)

    # --- at the start of a term ----------------------------------------------------------------------

    def has_lost_decisions(self, term: Term, stored: int) -> bool:
        """Return True if ``stored``, Redis' count of decisions, is less than the lease's record or we have seen.

        True as well where the term before ended because a loss was found.
        """
        recorded = 0 if term.epoch == self._compared_in else term.through
        known = max(recorded, self._remembered.within(term).through)
        if stored < known:
            log.error("redis has lost decisions", stored=stored, known=known)
        return stored < known or (self._lost_in > 0 and self._lost_in in {term.epoch, term.epoch - 1})

    def begin_repair(
        self, term: Term, cursors: Mapping[str, str], jobs: Collection[str], *, has_lost: bool
    ) -> bool:
        """Compare the cursors with those remembered; after a loss every job has to be repaired.

        Args:
            term: The one that begins.
            cursors: Every job's, as Redis holds it now.
            jobs: Those of the catalog.
            has_lost: The answer of ``has_lost_decisions``.

        Returns:
            True if Redis has lost writes. May be called again, should a later call of Redis fail.
        """
        remembered = self._remembered.within(term)
        known = {job: cursor for job, cursor in remembered.cursors.items() if is_readable(cursor)}
        rolled_back = [
            job
            for job, cursor in known.items()
            if job in jobs and has_gone_back(cursors.get(job, ""), cursor)
        ]
        if rolled_back:
            log.error("cursors have gone back: redis has lost writes", jobs=len(rolled_back))
            has_lost = True
        if not remembered.epoch:
            self._repairs = {}  # another leader has led since
        if has_lost:
            self._repairs = {job: self._repairs.get(job) or known.get(job, "") for job in jobs}
        return has_lost

    def has_begun(self, term: Term) -> None:
        """Note that the term has begun with all that had to be compared."""
        self._compared_in = term.epoch
        self._remembered, self._lost_in = RememberedTerm(), 0

    # --- within a term -------------------------------------------------------------------------------

    @contextmanager
    def noted(self, term: Term) -> Iterator[None]:
        """Note a ``StateLostError`` of the block: the next term then begins with the repair."""
        try:
            yield
        except StateLostError:
            self._lost_in = term.epoch
            raise

    def is_repairing(self, job: str) -> bool:
        """Return True while the job has to be repaired before anything else is decided of it."""
        return job in self._repairs

    def repair(
        self, entry: CatalogEntry, stored: str, now: datetime, timing: str = ""
    ) -> tuple[Decision, ...]:
        """Return what has to be decided of the job first; nothing where the job needs no repair.

        Args:
            entry: The job.
            stored: Its cursor in Redis, ``""`` for none.
            now: Redis' time.
            timing: The cursor's timing in Redis, ``""`` for none.
        """
        job = entry.job.id
        if job not in self._repairs:
            return ()
        decisions = plan_repair(entry, stored, self._repairs[job], now, timing)
        if not decisions:
            del self._repairs[job]
        return decisions

    def repaired(self, job: str) -> None:
        """Note that the job's first decision after the loss was applied."""
        self._repairs.pop(job, None)


def gone_back(job: str) -> StateLostError:
    """Return the error of a cursor that is smaller than one that Redis has acknowledged."""
    return StateLostError(f"the cursor of job {job} has gone back: Redis has lost writes")


def plan_repair(
    entry: CatalogEntry, stored: str, known: str, now: datetime, timing: str = ""
) -> tuple[Decision, ...]:
    """Return what has to be decided first of a job whose decisions Redis has lost (spec: reliability.md §8).

    Args:
        entry: The job.
        now: Redis' time.
        stored: The cursor as Redis has it now, ``""`` for none.
        known: The cursor as this process knows it from before the loss, ``""`` where it does not.
        timing: The timing of the cursor that Redis has now, ``""`` for none.

    Returns:
        Under ``on_state_loss=skip`` (and for a job that runs at most once) one skip of the instants that may have
        been run: up to the known cursor, or to now where nobody knows. Under ``replay`` nothing, for they are
        planned like any missed ones. A cursor that is gone altogether is set to the known one in either case: what
        came before it is not distinguishable from what ran.
    """
    skips = entry.job.on_state_loss == "skip" or entry.job.execution == "at_most_once"
    if not stored:
        if not known:
            return ()
        return (planner.move(entry, "", Cursor.from_text(known), "state lost"),)
    cursor = Cursor.from_text(stored)
    until = Cursor.from_text(known).at if known else now
    before = planner.as_stored(entry, cursor, timings.read(timing, cursor))
    if not skips or until <= cursor.at or before is None:
        return ()
    lost = planner.skip_span(before, cursor, stored, until, SkipReason.STATE_LOST)
    return () if lost is None else (lost,)
