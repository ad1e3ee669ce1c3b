"""The bulletin: all that a scheduler leaves in Redis only for people to read, itself and its jobs.

It is told by the housekeeping's thread. That Redis refuses any of it is logged once and holds up nothing else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog
from redis.exceptions import RedisError, ResponseError

from kuber_cron import __version__
from kuber_cron.common.clock import Clock
from kuber_cron.common.records import processes
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.status.job_summaries import JobSummaries
from kuber_cron.scheduler.status.scheduler_entry import TELL_SECONDS, Lateness, SchedulerEntry

log = structlog.get_logger(__name__)


class StatusPublisher:
    """One replica's. ``holder``: its identity in elections; without one it tells nothing of itself."""

    def __init__(
        self, store: Store, holder: str, *, clock: Clock, server_now: Callable[[], datetime]
    ) -> None:
        self._register = JobSummaries(store)
        self._presence = SchedulerEntry(store, holder) if holder else None
        self._holder = holder
        self._clock = clock
        self._server_now = server_now
        self._started_at = clock.now()
        self._tell_from = 0.0
        self._told_as: object = None
        self._refused: set[str] = set()
        self._lateness = Lateness()

    def decided(self, at: datetime, late_seconds: float) -> None:
        """A run was queued so late. For the deciding thread."""
        self._lateness.note(at, late_seconds)

    def tell(self, term: Term | None, catalog: Catalog) -> None:
        """This replica's entry is no older than a few seconds, and new after a change. Never raises Redis' errors."""
        epoch = None if term is None else term.epoch
        state = (epoch, catalog.version, catalog.valid)
        if self._presence is None or (state == self._told_as and self._clock.elapsed() < self._tell_from):
            return
        errors = [str(each) for each in catalog.diagnostics if each.severity == "error"]
        now = self._server_now()
        entry = processes.SchedulerInfo(
            holder=self._holder,
            version=__version__,
            started_at=self._started_at,
            seen_at=now,
            epoch=epoch,
            jobs=len(catalog.entries),
            is_valid=catalog.valid,
            problem=errors[0] if errors else None,
            late_seconds=self._lateness.largest(now),
        )
        with self._saying_once("a scheduler's entry", RedisError):
            self._presence.tell(entry)
        self._told_as, self._tell_from = state, self._clock.elapsed() + TELL_SECONDS

    def lay_cards(self, term: Term, catalog: Catalog) -> None:
        """The next slice of the jobs' cards is as the catalog has them.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer.
        """
        with self._saying_once("the jobs' cards", ResponseError):
            self._register.after_a_slice(term, catalog)

    def leave(self) -> None:
        """The replica is on no list any more, if Redis takes it."""
        if self._presence is not None:
            self._presence.leave()

    @contextmanager
    def _saying_once(self, what: str, kind: type[RedisError]) -> Iterator[None]:
        try:
            yield
            self._refused.discard(what)
        except kind as error:
            if what not in self._refused:
                log.warning("people cannot read of this meanwhile", what=what, error=str(error))
            self._refused.add(what)
