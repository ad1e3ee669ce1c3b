"""The publisher: all that a scheduler publishes in Redis for people to read, of itself and its jobs.

The maintenance loop calls it. That Redis refuses any of it is logged once and holds up nothing else.
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
from kuber_cron.scheduler.status.scheduler_entry import PUBLISH_SECONDS, Lateness, SchedulerEntry

log = structlog.get_logger(__name__)


class StatusPublisher:
    """One replica's. ``holder``: its identity in elections; without one it publishes nothing of itself."""

    def __init__(
        self,
        store: Store,
        holder: str,
        *,
        clock: Clock,
        server_now: Callable[[], datetime],
        elected_by: str,
    ) -> None:
        self._summaries = JobSummaries(store)
        self._entry = SchedulerEntry(store, holder) if holder else None
        self._holder = holder
        self._elected_by = elected_by
        self._clock = clock
        self._server_now = server_now
        self._started_at = clock.now()
        self._publish_from = 0.0
        self._published_as: object = None
        self._refused: set[str] = set()
        self._lateness = Lateness()

    def note_lateness(self, at: datetime, late_seconds: float) -> None:
        """Note how late a run was queued. For the deciding thread."""
        self._lateness.note(at, late_seconds)

    def publish(self, term: Term | None, catalog: Catalog) -> None:
        """Publish this replica's entry every few seconds, and after a change. Never raises Redis' errors."""
        epoch = None if term is None else term.epoch
        state = (epoch, catalog.version, catalog.valid)
        if self._entry is None or (
            state == self._published_as and self._clock.elapsed() < self._publish_from
        ):
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
            elected_by=self._elected_by,
            late_seconds=self._lateness.largest(now),
        )
        with self._logging_once("scheduler entry", RedisError):
            self._entry.publish(entry)
        self._published_as, self._publish_from = state, self._clock.elapsed() + PUBLISH_SECONDS

    def publish_job_summaries(self, term: Term, catalog: Catalog) -> None:
        """Publish the next of the job summaries that are not as the catalog has them.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer.
        """
        with self._logging_once("job summaries", ResponseError):
            self._summaries.publish_some(term, catalog)

    def withdraw(self) -> None:
        """Delete this replica's entry, if Redis takes it."""
        if self._entry is not None:
            self._entry.withdraw()

    @contextmanager
    def _logging_once(self, what: str, kind: type[RedisError]) -> Iterator[None]:
        try:
            yield
            self._refused.discard(what)
        except kind as error:
            if what not in self._refused:
                log.warning("publishing for status failed: redis refuses", what=what, error=str(error))
            self._refused.add(what)
