"""The result reporter: records attempt results in Redis, in the order in which attempts ended.

Results wait in memory while Redis is away. One that Redis refuses (a key of the wrong kind, say) is set aside, tried
again, and holds up no other. What this does *not* guarantee: that a run is not repeated by another worker when this one
was cut off for longer than its ttl; the reply LATE then says so, and nothing is counted.
"""

import enum
import math
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue

import structlog
from redis.exceptions import RedisError, ResponseError

from kuber_cron.worker.coordination import rq_codec
from kuber_cron.worker.coordination.end_decider import EndDecider
from kuber_cron.worker.coordination.notifications import WorkerNotifications
from kuber_cron.worker.coordination.run_store import AttemptEnd, EndReply, RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution.launch import AttemptResult
from kuber_cron.worker.execution.outcome import Outcome

log = structlog.get_logger(__name__)

_AFTER_ERROR_SECONDS = 0.5
# After a drain, results that Redis does not take are given up this late; the leader then finds the attempts lost.
_FLUSH_SECONDS = 5.0
_RECENT = 50
_FINAL_ACTIONS = frozenset({"finish", "fail", "stop", "quarantine"})


class _Unrecorded(enum.Enum):
    """Why Redis has not taken a result."""

    REFUSED = "refused"
    """For now: to be tried again."""
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class FinishedAttempt:
    """An attempt that has ended, for a live view."""

    job: str
    outcome: Outcome
    ended_at: datetime
    seconds: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals that RQ shows of a worker."""

    succeeded: int
    failed: int
    working_seconds: float


class ResultReporter:
    """Takes attempt results from any thread and records them in one of its own."""

    def __init__(
        self,
        context: WorkerContext,
        run_store: RunStore,
        *,
        notifications: WorkerNotifications,
        rng: random.Random,
        may_give_up: Callable[[], bool],
    ) -> None:
        """Prepare; results are recorded once ``run`` is called.

        Args:
            context: The worker.
            run_store: On a connection without retries.
            notifications: Takes the results that were recorded.
            rng: Where the jitter of backoffs comes from.
            may_give_up: True once no command runs any more, so that results which Redis does not take may be lost.
        """
        self._context = context
        self._run_store = run_store
        self._notifications = notifications
        self._decider = EndDecider(context, run_store, rng)
        self._may_give_up = may_give_up
        self._results: SimpleQueue[AttemptResult | None] = SimpleQueue()
        self._refused: deque[AttemptResult] = deque()  # by Redis; to be tried again, all of them at once
        self._retry_at = 0.0
        self._is_last = False
        self._flush_until: float | None = None
        self._deadline = math.inf
        self._has_given_up = False
        self._pause = threading.Event()
        self._recent: deque[FinishedAttempt] = deque(maxlen=_RECENT)
        self._totals = Totals(0, 0, 0.0)

    def report(self, result: AttemptResult) -> None:
        """Take a result to be recorded. Returns at once."""
        self._results.put(result)

    def end_by(self, deadline: float) -> None:
        """Make ``run`` return once all results so far are recorded; on the interval clock, give up what is not by then."""
        self._deadline = deadline
        self._results.put(None)

    def recent(self) -> list[FinishedAttempt]:
        """Return the attempts that ended last, newest first."""
        return list(self._recent)

    @property
    def totals(self) -> Totals:
        """The worker's totals so far."""
        return self._totals

    def run(self) -> None:
        """Record results until ``end_by``."""
        while (result := self._next()) is not None:
            try:
                if not self._record(result):
                    self._refused.append(result)
                    self._retry_at = self._context.clock.elapsed() + _AFTER_ERROR_SECONDS
                    continue
            except Exception:
                # The other results must still be recorded; this run's execution expires and is taken back.
                self._context.metrics.errors.inc()
                log.exception("recording an attempt result failed", run=result.launch.run_id)
            self._context.slots.release(result.launch.execution_id)

    def _next(self) -> AttemptResult | None:
        """Return the result to record now; None when all are recorded, and no more will come."""
        while True:
            if self._refused and (wait := self._retry_at - self._context.clock.elapsed()) <= 0:
                return self._refused.popleft()
            if self._is_last:
                if not self._refused:
                    return None
                self._pause.wait(wait)
                continue
            try:
                result = self._results.get(timeout=wait if self._refused else None)
            except Empty:
                continue
            if result is not None:
                return result
            self._is_last = True

    def _record(self, result: AttemptResult) -> bool:
        """Record a result and what follows from it; return False where Redis refuses it for now."""
        attempt = self._context.slots.get(result.launch.execution_id)
        if attempt is None:
            raise KeyError(result.launch.execution_id)
        action, delay = self._decider.action(attempt, result)
        end = AttemptEnd(
            action=action,
            outcome=result.outcome.kind,
            ended_at=result.ended_at,
            delay_seconds=delay,
            spends_retry=action == "retry",
            duration_seconds=result.elapsed_seconds if result.pid is not None else None,
            note=attempt.problem.to_note() if attempt.problem is not None else "",
            result=rq_codec.result_fields(
                action,
                result,
                worker=self._context.name,
                attempt=attempt.start.attempt,
                queued_at=attempt.start.queued_at,
            ),
        )
        reply = self._send(attempt, end)
        if reply is _Unrecorded.REFUSED:
            return False
        is_attempt = attempt.payload is not None and action != "return"
        if reply is EndReply.LATE or reply is _Unrecorded.GIVEN_UP:
            if is_attempt:
                if result.pid is not None:
                    self._context.job_metrics.attempt_forgotten(attempt.job)
                reason = "run taken away" if reply is EndReply.LATE else "Redis unreachable"
                log.warning("attempt result not recorded", reason=reason, **_facts(attempt, result))
            return True
        is_final = action in _FINAL_ACTIONS or reply is EndReply.STOPPED
        if is_attempt:
            retry_in_seconds = delay if action == "retry" and reply is not EndReply.STOPPED else None
            self._count(attempt, result, is_retried=retry_in_seconds is not None)
            _log(attempt, result, is_final=is_final, retry_in_seconds=retry_in_seconds)
        self._notifications.ended(attempt, result, recovered=reply is EndReply.RECOVERED, is_final=is_final)
        return True

    def _send(self, attempt: RunningAttempt, end: AttemptEnd) -> EndReply | _Unrecorded:
        """Return the end script's reply, asked for until there is one or the result may be given up.

        REFUSED where Redis refuses this one, so that the others go on.
        """
        while not self._has_given_up:
            try:
                return self._run_store.end(attempt.run_id, attempt.execution_id, end)
            except RedisError as error:
                self._context.outage.failed("recording an attempt result failed", error, run=attempt.run_id)
                is_refused = isinstance(error, ResponseError)
                if self._is_too_late():
                    self._has_given_up = not is_refused  # Redis is away: the others are not tried either
                    return _Unrecorded.GIVEN_UP
                if is_refused:
                    return _Unrecorded.REFUSED
                self._pause.wait(_AFTER_ERROR_SECONDS)
        return _Unrecorded.GIVEN_UP

    def _is_too_late(self) -> bool:
        """Return True once Redis has had its time for all results together, counted from the first it did not take."""
        if not self._may_give_up():
            return False
        now = self._context.clock.elapsed()
        if self._flush_until is None:
            self._flush_until = now + _FLUSH_SECONDS
        return now >= min(self._flush_until, self._deadline)

    def _count(self, attempt: RunningAttempt, result: AttemptResult, *, is_retried: bool) -> None:
        outcome, job = result.outcome, attempt.job
        self._context.job_metrics.attempt_ended(
            job,
            outcome.kind,
            duration=result.elapsed_seconds if result.pid is not None else None,
            cpu_seconds=result.cpu_seconds,
            max_rss_bytes=result.max_rss_bytes,
        )
        if is_retried:
            self._context.job_metrics.retry_queued(job)
        before = self._totals
        self._totals = Totals(
            before.succeeded + outcome.is_success,
            before.failed + (not outcome.is_success),
            before.working_seconds + result.elapsed_seconds,
        )
        self._recent.appendleft(
            FinishedAttempt(job, outcome, result.ended_at, result.elapsed_seconds, attempt.start.attempt)
        )


def _log(
    attempt: RunningAttempt, result: AttemptResult, *, is_final: bool, retry_in_seconds: float | None
) -> None:
    for warning in result.warnings:
        log.warning("attempt not as asked", job=attempt.job, run=attempt.run_id, warning=warning)
    facts = _facts(attempt, result)
    if retry_in_seconds is not None:
        facts["retry_in_seconds"] = round(retry_in_seconds, 1)
    log_line = log.warning
    if result.outcome.is_success:
        log_line = log.debug if attempt.is_quiet else log.info
    log_line("run ended" if is_final else "attempt ended", **facts)


def _facts(attempt: RunningAttempt, result: AttemptResult) -> dict[str, object]:
    return {
        "job": attempt.job,
        "run": attempt.run_id,
        "attempt": attempt.start.attempt,
        "outcome": str(result.outcome),
        "seconds": round(result.elapsed_seconds, 3),
    }
