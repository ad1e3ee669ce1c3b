"""Reporting: how attempts ended goes to Redis, in the order in which they did, until Redis has taken it.

Outcomes wait in memory while Redis is away. One that Redis refuses (a key of the wrong kind, say) is set aside and asked
for again, and holds up no other. What this does *not* guarantee: that a run is not repeated by another
worker when this one was cut off for longer than its ttl; the answer LATE then says so, and nothing is counted.
"""

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue

import structlog
from redis.exceptions import RedisError, ResponseError

from kuber_cron.common.clock import Clock
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.runs import retry_policy
from kuber_cron.worker.coordination import rq_registration
from kuber_cron.worker.coordination.notifications import WorkerNotifications
from kuber_cron.worker.coordination.run_store import AttemptEnd, EndAction, RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt, Slots
from kuber_cron.worker.execution import launching
from kuber_cron.worker.execution.launch import AttemptResult
from kuber_cron.worker.execution.outcome import Outcome
from kuber_cron.worker.metrics import WorkerMetrics

log = structlog.get_logger(__name__)

_AFTER_ERROR_SECONDS = 0.5
# After a drain, outcomes that Redis does not take are given up this late; the leader then finds them lost.
_FLUSH_SECONDS = 5.0
_RECENT = 50
FINAL = frozenset({"finish", "fail", "stop", "quarantine"})


@dataclass(frozen=True, slots=True)
class FinishedAttempt:
    """An attempt that has ended, for people who watch."""

    job: str
    outcome: Outcome
    ended_at: datetime
    seconds: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What RQ shows of a worker."""

    succeeded: int
    failed: int
    working_seconds: float


class ResultReporter:
    """Takes ends from any thread and records them in one of its own."""

    def __init__(
        self,
        ledger: RunStore,
        *,
        worker: str,
        slots: Slots,
        clock: Clock,
        metrics: WorkerMetrics,
        measures: JobMetrics,
        rng: random.Random,
        may_give_up: Callable[[], bool],
        teller: WorkerNotifications,
    ) -> None:
        """``may_give_up``: nobody would miss an outcome that Redis does not take, for all commands have ended."""
        self._ledger = ledger
        self._worker = worker
        self._slots = slots
        self._clock = clock
        self._metrics = metrics
        self._measures = measures
        self._rng = rng
        self._may_give_up = may_give_up
        self._teller = teller
        self._ended: SimpleQueue[AttemptResult | None] = SimpleQueue()
        self._refused: deque[AttemptResult] = deque()  # by Redis; to be told again, all of them at once
        self._again_at = 0.0
        self._is_last = False
        self._flush_until: float | None = None
        self._gave_up = False
        self._pause = threading.Event()
        self._recent: deque[FinishedAttempt] = deque(maxlen=_RECENT)
        self._totals = Totals(0, 0, 0.0)

    def tell(self, ended: AttemptResult) -> None:
        """An attempt has ended. Returns at once."""
        self._ended.put(ended)

    def finish(self) -> None:
        """``run`` returns when all that was told is recorded."""
        self._ended.put(None)

    def recent(self) -> list[FinishedAttempt]:
        """The attempts that ended last, newest first."""
        return list(self._recent)

    @property
    def totals(self) -> Totals:
        """What this worker has done so far."""
        return self._totals

    def run(self) -> None:
        """Record ends until ``finish``."""
        while (ended := self._next()) is not None:
            try:
                if not self._report(ended):
                    self._refused.append(ended)
                    self._again_at = self._clock.elapsed() + _AFTER_ERROR_SECONDS
                    continue
            except Exception:
                # The other outcomes must still be recorded; this run's execution expires and is taken back.
                self._metrics.errors.inc()
                log.exception("an outcome could not be recorded", run=ended.launch.run_id)
            self._slots.free(ended.launch.execution_id)

    def _next(self) -> AttemptResult | None:
        """What is to be recorded now; None when all is, and nothing more will come."""
        while True:
            if self._refused and (wait := self._again_at - self._clock.elapsed()) <= 0:
                return self._refused.popleft()
            if self._is_last:
                if not self._refused:
                    return None
                self._pause.wait(wait)
                continue
            try:
                ended = self._ended.get(timeout=wait if self._refused else None)
            except Empty:
                continue
            if ended is not None:
                return ended
            self._is_last = True

    def _report(self, ended: AttemptResult) -> bool:
        """Whether it is done with; False where Redis refuses it for now."""
        held = self._slots.get(ended.launch.execution_id)
        if held is None:
            raise KeyError(ended.launch.execution_id)
        action, delay = self._action(held, ended)
        ending = AttemptEnd(
            action=action,
            outcome=ended.outcome.kind,
            ended_at=ended.ended_at,
            delay_seconds=delay,
            spends_retry=action == "retry",
            duration_seconds=ended.elapsed_seconds if ended.pid is not None else None,
            note=held.problem.to_note() if held.problem is not None else "",
            result=rq_registration.result_fields(
                action,
                ended,
                worker=self._worker,
                attempt=held.started.attempt,
                ended_at=ended.ended_at,
                queued_at=held.started.queued_at,
            ),
        )
        verdict = self._recorded(held, ending)
        if verdict is None:
            return False
        if held.payload is not None and ending.action != "return":
            self._count(held, ended, ending, verdict)
        self._teller.ended(
            held, ended, verdict=verdict, is_final=ending.action in FINAL or verdict == "STOPPED"
        )
        return True

    def _action(self, held: RunningAttempt, ended: AttemptResult) -> tuple[EndAction, float]:
        outcome = ended.outcome
        if held.problem is not None:
            return ("return" if held.problem.reason == "version" else "quarantine"), 0.0
        if held.payload is None:
            raise ValueError(held.run)
        if outcome.kind == "interrupted" and ended.pid is None:
            return "return", 0.0  # we drained before it ran: no attempt, also for a job that has only one
        decision = retry_policy.decide(
            held.payload,
            outcome.kind,
            exit_code=outcome.exit_code,
            spent=held.started.spent,
            rng=self._rng,
        )
        return launching.action(decision, outcome)

    def _recorded(self, held: RunningAttempt, ending: AttemptEnd) -> str | None:
        """The end script's answer, asked for until there is one or nobody waits for it any more.

        None where Redis refuses this one, so that the others go on.
        """
        while not self._gave_up:
            try:
                return self._ledger.end(held.run, held.execution, ending)
            except RedisError as error:
                log.warning("an outcome waits for redis", run=held.run, error=str(error))
                is_refused = isinstance(error, ResponseError)
                if self._is_too_late():
                    self._gave_up = not is_refused  # Redis is away: nor are the others asked for
                    return "UNSENT"
                if is_refused:
                    return None
                self._pause.wait(_AFTER_ERROR_SECONDS)
        return "UNSENT"

    def _is_too_late(self) -> bool:
        """Whether Redis has had its time for all outcomes together, counted from the first that it did not take."""
        if not self._may_give_up():
            return False
        now = self._clock.elapsed()
        if self._flush_until is None:
            self._flush_until = now + _FLUSH_SECONDS
        return now >= self._flush_until

    def _count(self, held: RunningAttempt, ended: AttemptResult, ending: AttemptEnd, verdict: str) -> None:
        outcome, job = ended.outcome, held.job
        facts = {
            "job": job,
            "run": held.run,
            "attempt": held.started.attempt,
            "outcome": str(outcome),
            "seconds": round(ended.elapsed_seconds, 3),
        }
        if verdict in {"LATE", "UNSENT"}:
            self._measures.attempt_forgotten(job)
            log.warning("outcome not recorded: the run is not ours any more", verdict=verdict, **facts)
            return
        self._measures.attempt_ended(
            job,
            outcome.kind,
            duration=ended.elapsed_seconds,
            cpu_seconds=ended.cpu_seconds,
            max_rss_bytes=ended.max_rss_bytes,
        )
        if ending.action == "retry" and verdict != "STOPPED":
            self._measures.retry_queued(job)
            facts["retry_in_seconds"] = round(ending.delay_seconds, 1)
        before = self._totals
        self._totals = Totals(
            before.succeeded + outcome.is_success,
            before.failed + (not outcome.is_success),
            before.working_seconds + ended.elapsed_seconds,
        )
        self._recent.appendleft(
            FinishedAttempt(job, outcome, ended.ended_at, ended.elapsed_seconds, held.started.attempt)
        )
        for warning in ended.warnings:
            log.warning("attempt not quite as asked", job=job, run=held.run, warning=warning)
        say = log.warning
        if outcome.is_success:
            say = log.debug if held.is_quiet else log.info
        say("run ended" if ending.action in FINAL or verdict == "STOPPED" else "attempt ended", **facts)
