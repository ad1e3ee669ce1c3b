"""The deciding loop: sleeps exactly until something is due, and decides while this replica leads.

Every doubt (Redis does not answer, a term is over) ends what is believed; the next turn begins from what Redis holds.
"""

import threading
from datetime import datetime

import structlog
from redis.exceptions import RedisError

from kuber_cron.common import time_format
from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import FencedError, RedisUnreachableError, StateLostError, TermOverError
from kuber_cron.common.observability.loop_progress import LoopProgress
from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.redis_store.primary_connection import is_unanswered
from kuber_cron.scheduler.decisions.catalog import Catalog, CatalogWatcher
from kuber_cron.scheduler.decisions.decider import Decider
from kuber_cron.scheduler.decisions.dispatcher import DecisionResult, Dispatcher, ResultWord
from kuber_cron.scheduler.decisions.result_intake import SOON_SECONDS
from kuber_cron.scheduler.decisions.server_watch import WATCH_SECONDS
from kuber_cron.scheduler.election.election import Election
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.metrics import SchedulerMetrics
from kuber_cron.scheduler.status.publisher import StatusPublisher

log = structlog.get_logger(__name__)

STALLED_SECONDS = 40.0
"""/livez fails when the loop has made no turn for this long."""
# Where something is due sooner than this, the decision comes before the question if Redis is still the same.
_BUSY_SECONDS = 0.05
# A standby checks this often if it leads; an election that wins wakes the loop at once.
_STANDBY_SECONDS = 1.0
_AFTER_ERROR_SECONDS = 1.0


class ResultRecorder:
    """Logs and measures the result of each decision that was applied."""

    def __init__(self, metrics: SchedulerMetrics, status: StatusPublisher) -> None:
        self._metrics = metrics
        self._status = status

    def __call__(self, result: DecisionResult, catalog: Catalog) -> None:
        """Record one result. ``catalog`` is the one that it was decided by."""
        decision = result.decision
        if result.word in {ResultWord.QUEUED, ResultWord.HELD}:
            job = catalog.entries[decision.job].job
            lateness = max(0.0, (result.answered_at - decision.due_at).total_seconds())
            self._status.note_lateness(result.answered_at, lateness)
            self._metrics.jobs.lateness.labels(job.queue).observe(lateness)
            write = log.debug if job.quiet else log.info
            event = "run queued" if result.word == ResultWord.QUEUED else "run held"
            write(event, job=decision.job, run=decision.run, late_seconds=round(lateness, 3))
        elif result.word == ResultWord.SKIPPED:
            write = log.info if result.detail == SkipReason.SUSPENDED else log.warning
            write(
                "not queued",
                job=decision.job,
                reason=result.detail,
                first=time_format.iso(decision.first, "seconds"),
                last=time_format.iso(decision.last, "seconds"),
                count=decision.count,
            )
        elif result.word == ResultWord.KNOWN:
            log.warning("already queued", job=decision.job, run=result.detail)
        else:
            log.debug("cursor moved", job=decision.job, reason=decision.reason, cursor=decision.cursor)


class DecisionLoop:
    """One replica's. ``run`` it in a thread."""

    def __init__(
        self,
        decider: Decider,
        dispatcher: Dispatcher,
        *,
        election: Election,
        watcher: CatalogWatcher,
        clock: Clock,
        metrics: SchedulerMetrics,
    ) -> None:
        self._decider = decider
        self._dispatcher = dispatcher
        self._election = election
        self._watcher = watcher
        self._metrics = metrics
        self._wake = threading.Event()
        self._progress = LoopProgress(clock, "deciding", STALLED_SECONDS)
        self.is_refused = False
        """The last turn failed by Redis."""

    # --- for the outside ---------------------------------------------------------------------------

    def wake(self) -> None:
        """Make a turn now."""
        self._wake.set()

    def check(self) -> str:
        """Return ``ok``, or that the loop has stalled."""
        return self._progress.check()

    def failing_seconds(self) -> float:
        """Return for how long no turn has been answered by Redis; 0 for a standby."""
        return self._progress.failing_seconds()

    def upcoming(self) -> dict[str, datetime]:
        """Return each job's next due instant, as planned."""
        return self._decider.upcoming()

    def ahead_seconds(self) -> float:
        """Return how far Redis' clock has stepped back behind the farthest cursor; 0 for a standby."""
        return self._decider.ahead_seconds if self._election.valid_term() else 0.0

    # --- turns -------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Decide until ``stop`` is set; ``wake`` has to be called then."""
        while not stop.is_set():
            self._progress.turned()
            self._wake.clear()
            try:
                seconds = self._turn()
                self.is_refused = False
                self._progress.succeeded()
            except (RedisUnreachableError, RedisError) as error:
                if not self.is_refused:  # four turns a second fail until it answers
                    log.warning("nothing is decided: redis does not answer, or refuses", error=str(error))
                self.is_refused = True
                (self._progress.failed if is_unanswered(error) else self._progress.succeeded)()
                seconds = self._doubt()
            except TermOverError as error:
                log.info("the rest is left to the next term", reason=error.message)
                seconds = self._doubt()
            except FencedError as error:
                self._metrics.fenced.inc()
                self._election.step_down(error.message)
                seconds = self._doubt()
            except StateLostError as error:
                log.error("redis has lost writes", error=error.message)  # noqa: TRY400 - a finding, no traceback
                self._election.step_down(error.message)
                seconds = self._doubt()
            except Exception:
                # The loop must outlive any single job's fault; what is not decided stays due.
                log.exception("a turn of the deciding loop failed")
                self._metrics.loop_errors.inc()
                self._decider.forget()
                seconds = _AFTER_ERROR_SECONDS
            self._wake.wait(seconds)

    def _doubt(self) -> float:
        self._decider.forget()
        return SOON_SECONDS

    def _turn(self) -> float:
        """Decide what is due; return how many seconds may pass until the next turn."""
        term = self._election.valid_term()
        if term is None:
            self._decider.forget()
            return _STANDBY_SECONDS
        catalog = self._watcher.current
        if term.epoch != self._decider.epoch and self._decider.begin(term, catalog):
            self._metrics.state_lost.inc()
        settled = self._watcher.settled_seconds()
        seconds = self._decider.turn(term, catalog, settled, lambda: self._leads(term))
        self._election.decided(self._dispatcher.through)
        if seconds > _BUSY_SECONDS and self._leads(term) and self._decider.is_in_doubt(term):
            return 0.0
        return min(seconds, WATCH_SECONDS)

    def _leads(self, term: Term) -> bool:
        current = self._election.valid_term()
        return current is not None and current.epoch == term.epoch
