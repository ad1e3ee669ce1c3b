"""The intake of results: what the decider believes and plans after the deciding script's replies."""

from datetime import UTC, datetime, timedelta

import structlog

from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.decisions.dispatcher import BatchReply, DecisionResult, ResultWord
from kuber_cron.scheduler.decisions.known_cursors import KnownCursors
from kuber_cron.scheduler.decisions.pending_jobs import PendingJobs
from kuber_cron.scheduler.decisions.planner import Decision
from kuber_cron.scheduler.decisions.removals import Removals
from kuber_cron.scheduler.decisions.state_loss import StateLoss

log = structlog.get_logger(__name__)

# After a decision was not applied, its job is planned again this soon.
SOON_SECONDS = 0.25
_LOG_AGAIN = timedelta(seconds=60)
_NEVER = datetime.min.replace(tzinfo=UTC)


class ResultIntake:
    """Takes in results. Owned by the decider, whose parts it updates."""

    def __init__(
        self,
        clock: RedisClock,
        *,
        cursors: KnownCursors,
        pending: PendingJobs,
        loss: StateLoss,
        removals: Removals,
    ) -> None:
        self._clock = clock
        self._cursors = cursors
        self._pending = pending
        self._loss = loss
        self._removals = removals
        self._failures = _FailureLog()

    def take_in_all(self, replies: list[BatchReply], applied: list[DecisionResult], catalog: Catalog) -> None:
        """Take in each reply once, emptying the list; what was applied is put on ``applied``.

        Raises:
            StateLostError: A cursor has gone back.
            redis.RedisError: A cursor that is in doubt could not be read.
        """
        while replies:
            for result in replies.pop(0).results():
                if result.decision.kind == "drop":
                    self._removals.answered(result.decision.job)
                if result.is_applied:
                    applied.append(result)
                    self._applied(result.decision)
                else:
                    self._not_applied(result, catalog)

    def _applied(self, decision: Decision) -> None:
        job = decision.job
        self._pending.applied(job)
        self._loss.repaired(job)
        self._failures.forget(job)
        self._cursors.advance(decision)

    def _not_applied(self, result: DecisionResult, catalog: Catalog) -> None:
        decision = result.decision
        job = decision.job
        self._pending.not_applied(job)
        if job in catalog.entries:
            # What is busy gets on with each call; how many more there are is not known.
            wait_seconds = 0.0 if result.word == ResultWord.BUSY else SOON_SECONDS
            self._pending.due.put(job, self._clock.now() + timedelta(seconds=wait_seconds))
        elif result.word == ResultWord.MOVED and not result.detail:
            self._cursors.drop(job)  # another leader has dropped it
            return
        else:
            self._removals.retry(job)
        if result.word == ResultWord.MOVED:
            self._cursors.correct(decision, result.detail)
        elif result.word == ResultWord.ERROR:
            self._failures.log(decision, result.detail, self._clock.now())
            # The cursor may stand before or behind it: what Redis holds is read before the next try.
            self._cursors.read_again(job)
        elif result.word == ResultWord.WAITS and not self._pending.is_unapplied(result.detail):
            # Nothing that we know of is wrong with the predecessor: another leader must have moved it.
            self._cursors.read_again(result.detail)
            self._pending.due.put(result.detail, self._clock.now())


class _FailureLog:
    """Logs a job's failing decision once a minute, because it is tried four times a second."""

    def __init__(self) -> None:
        self._logged: dict[str, tuple[str, datetime]] = {}

    def log(self, decision: Decision, error: str, now: datetime) -> None:
        before, at = self._logged.get(decision.job, ("", _NEVER))
        if error != before or now - at >= _LOG_AGAIN:
            self._logged[decision.job] = error, now
            log.error("a decision failed", job=decision.job, at=decision.last.isoformat(), error=error)

    def forget(self, job: str) -> None:
        self._logged.pop(job, None)
