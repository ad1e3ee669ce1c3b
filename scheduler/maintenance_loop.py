"""The maintenance loop: once a second housekeeping, metrics' numbers and what is published for people.

It has a connection and a thread of its own, so that a slow round never delays a decision.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace

import structlog
from redis.exceptions import RedisError, ResponseError

from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.observability.loop_progress import LoopProgress
from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.election.election import Election
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance import redis_observer
from kuber_cron.scheduler.maintenance.housekeeping import ROUND_SECONDS, Housekeeper
from kuber_cron.scheduler.maintenance.reaper import MaintenanceEvent
from kuber_cron.scheduler.maintenance.redis_observer import RedisObservation, RedisObserver
from kuber_cron.scheduler.maintenance.schedule_gaps import ScheduleGaps
from kuber_cron.scheduler.maintenance.success_deadlines import SuccessDeadlines
from kuber_cron.scheduler.metrics import SchedulerMetrics
from kuber_cron.scheduler.notifications import SchedulerNotifications
from kuber_cron.scheduler.status.publisher import StatusPublisher

log = structlog.get_logger(__name__)

STALLED_SECONDS = 120.0
"""/livez fails when no round has begun for this long; one of 100,000 jobs takes seconds."""

_EXPECTED = {
    "retried": "retry queued",
    "opened": "held run released: its wait is over",
    "served": "held run released: its group has room",
}
_UNEXPECTED = {
    "lost_again": "worker lost: run queued again",
    "lost_failed": "worker lost: run failed for good",
    "returned": "claim of a dead worker returned to its queue",
    "removed": "run deleted by another program: ended as removed",
}


class MaintenanceLoop:
    """One replica's. ``run`` it in a thread."""

    def __init__(
        self,
        housekeeper: Housekeeper,
        observer: RedisObserver,
        notifications: SchedulerNotifications,
        status: StatusPublisher,
        *,
        election: Election,
        watcher: CatalogWatcher,
        server_clock: RedisClock,
        metrics: SchedulerMetrics,
    ) -> None:
        self._housekeeper = housekeeper
        self._observer = observer
        self._notifications = notifications
        self._status = status
        self._election = election
        self._watcher = watcher
        self._server_clock = server_clock
        self._metrics = metrics
        self._progress = LoopProgress(server_clock, "maintenance", STALLED_SECONDS)

    def check(self) -> str:
        """Return ``ok``, or that the loop has stalled."""
        return self._progress.check()

    def run(self, stop: threading.Event) -> None:
        """Put in order what there is, once a second while this replica leads, until ``stop`` is set."""
        gaps, of_term, outage = ScheduleGaps(), _OfTerm(0), OutageLog(self._server_clock)
        while not stop.wait(ROUND_SECONDS):
            self._progress.turned()
            term = self._election.valid_term()
            self._status.publish(term, self._watcher.current)
            if term is None:
                continue
            if term.epoch != of_term.epoch:
                of_term = _OfTerm(term.epoch)
                self._observer.forget()
            try:
                self._round(term, gaps, of_term)
                outage.answered()
            except RedisError as error:
                # Also where it refuses (out of memory, say): heartbeats may have been refused like this call.
                self._housekeeper.redis_was_away()
                outage.failed("housekeeping rests: redis does not answer, or refuses", error)
            except KuberCronError as error:
                log.warning("housekeeping stops", reason=error.message)
            except Exception:
                # One run that cannot be put in order must not keep the others from it.
                log.exception("a round of housekeeping failed")
                self._metrics.loop_errors.inc()

    def _round(self, term: Term, gaps: ScheduleGaps, of_term: "_OfTerm") -> None:
        self._housekeeper.follow_files(term, self._watcher.current.entries)
        for event in self._housekeeper.round(term):
            self._record(event, term)
        catalog = self._watcher.current
        entries = catalog.entries
        self._metrics.update(gaps=gaps.update_some(entries, self._server_clock.now()))
        if self._server_clock.elapsed() >= of_term.observe_from:
            of_term.observation = self._observe(term, entries) or of_term.observation
            of_term.observe_from = self._server_clock.elapsed() + redis_observer.OBSERVE_SECONDS
        expected = of_term.success_deadlines.update_some(entries, of_term.observation.jobs)
        self._metrics.update(expected=expected)
        self._status.publish_job_summaries(term, self._watcher.current)

    def _observe(self, term: Term, entries: Mapping[str, CatalogEntry]) -> RedisObservation | None:
        try:
            seen = self._observer.observe(entries)
        except ResponseError as error:
            # What cannot be read (WAIT or INFO closed, one key that is not ours) must not keep runs from being reaped.
            log.warning("redis refuses to be observed: its metrics stand still", error=str(error))
            return None
        observation = replace(seen, epoch=term.epoch, at=self._server_clock.now().timestamp())
        self._metrics.update(observation=observation)
        self._notifications.notify_missed(observation.missed, term, entries)
        return observation

    def _record(self, event: MaintenanceEvent, term: Term) -> None:
        if event.what in _EXPECTED:
            log.info(_EXPECTED[event.what], job=event.job, run=event.run)
            return
        if event.what.startswith("lost"):
            self._metrics.jobs.attempt_ended(event.job, "lost")
        if event.what == "lost_failed" and (entry := self._watcher.current.entries.get(event.job)):
            self._notifications.notify_lost(event.run, entry.job, term, self._server_clock.now())
        log.warning(_UNEXPECTED[event.what], job=event.job, run=event.run)


class _OfTerm:
    """The observations of one term."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.observe_from = 0.0
        self.observation = RedisObservation()
        self.success_deadlines = SuccessDeadlines()
