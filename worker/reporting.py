"""Reporting: how attempts ended goes to Redis, in the order in which they did, until Redis has taken it.

Outcomes wait in memory while Redis is away. What this does *not* guarantee: that a run is not repeated by another
worker when this one was cut off for longer than its ttl; the answer LATE then says so, and nothing is counted.
"""

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue

import structlog
from redis.exceptions import RedisError

from kuber_cron.common import retry
from kuber_cron.common.clock import Clock
from kuber_cron.common.measures import JobMeasures
from kuber_cron.common.store import FAILURE_TTL_SECONDS, RESULT_TTL_SECONDS
from kuber_cron.worker import launching, rq_worker
from kuber_cron.worker.command import Ended
from kuber_cron.worker.held import Held, Slots
from kuber_cron.worker.ledger import Action, Ending, Ledger
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.outcome import Outcome
from kuber_cron.worker.telling import Teller

log = structlog.get_logger(__name__)

_AFTER_ERROR_SECONDS = 0.5
# After a drain, outcomes that Redis does not take are given up this late; the leader then finds them lost.
_FLUSH_SECONDS = 5.0
_RECENT = 50
FINAL = frozenset({"finish", "fail", "stop", "quarantine"})


@dataclass(frozen=True, slots=True)
class Recent:
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


class Reporter:
    """Takes ends from any thread and records them in one of its own."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        worker: str,
        slots: Slots,
        clock: Clock,
        metrics: WorkerMetrics,
        measures: JobMeasures,
        rng: random.Random,
        may_give_up: Callable[[], bool],
        teller: Teller,
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
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._pause = threading.Event()
        self._recent: deque[Recent] = deque(maxlen=_RECENT)
        self._totals = Totals(0, 0, 0.0)

    def tell(self, ended: Ended) -> None:
        """An attempt has ended. Returns at once."""
        self._ended.put(ended)

    def finish(self) -> None:
        """``run`` returns when all that was told is recorded."""
        self._ended.put(None)

    def recent(self) -> list[Recent]:
        """The attempts that ended last, newest first."""
        return list(self._recent)

    @property
    def totals(self) -> Totals:
        """What this worker has done so far."""
        return self._totals

    def run(self) -> None:
        """Record ends until ``finish``."""
        while (ended := self._ended.get()) is not None:
            try:
                self._report(ended)
            except Exception:
                # The other outcomes must still be recorded; this run's execution expires and is taken back.
                self._metrics.errors.inc()
                log.exception("an outcome could not be recorded", run=ended.launch.run_id)
            self._slots.free(ended.launch.execution_id)

    def _report(self, ended: Ended) -> None:
        held = self._slots.get(ended.launch.execution_id)
        if held is None:
            raise KeyError(ended.launch.execution_id)
        action, delay = self._action(held, ended.outcome)
        ending = Ending(
            action=action,
            outcome=ended.outcome.kind,
            ended_at=ended.ended_at,
            delay_seconds=delay,
            spends_retry=action == "retry",
            duration_seconds=ended.elapsed_seconds if ended.pid is not None else None,
            note=held.problem.to_note() if held.problem is not None else "",
            result=rq_worker.result_fields(
                action, ended, worker=self._worker, attempt=held.started.attempt, ended_at=ended.ended_at
            ),
        )
        verdict = self._recorded(held, ending)
        if held.payload is not None:
            self._count(held, ended, ending, verdict)
        self._teller.ended(held, ended, verdict=verdict, is_final=ending.action in FINAL)

    def _action(self, held: Held, outcome: Outcome) -> tuple[Action, float]:
        if held.problem is not None:
            return ("return" if held.problem.reason == "version" else "quarantine"), 0.0
        if held.payload is None:
            raise ValueError(held.run)
        decision = retry.decide(
            retry.Policy.of(held.payload),
            outcome.kind,
            exit_code=outcome.exit_code,
            spent=held.started.spent,
            rng=self._rng,
        )
        return launching.action(decision, outcome)

    def _recorded(self, held: Held, ending: Ending) -> str:
        """The end script's answer, asked for until there is one or nobody waits for it any more."""
        flush_until: float | None = None
        while True:
            try:
                return self._ledger.end(
                    held.run,
                    held.execution,
                    ending,
                    result_ttl_seconds=RESULT_TTL_SECONDS,
                    failure_ttl_seconds=FAILURE_TTL_SECONDS,
                )
            except RedisError as error:
                log.warning("an outcome waits for redis", run=held.run, error=str(error))
                if self._may_give_up():
                    now = self._clock.elapsed()
                    flush_until = flush_until or now + _FLUSH_SECONDS
                    if now >= flush_until:
                        return "UNSENT"
                self._pause.wait(_AFTER_ERROR_SECONDS)

    def _count(self, held: Held, ended: Ended, ending: Ending, verdict: str) -> None:
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
        if ending.action == "retry":
            self._measures.retry_queued(job)
            facts["retry_in_seconds"] = round(ending.delay_seconds, 1)
        before = self._totals
        self._totals = Totals(
            before.succeeded + outcome.is_success,
            before.failed + (not outcome.is_success),
            before.working_seconds + ended.elapsed_seconds,
        )
        self._recent.appendleft(
            Recent(job, outcome, ended.ended_at, ended.elapsed_seconds, held.started.attempt)
        )
        for warning in ended.warnings:
            log.warning("attempt not quite as asked", job=job, run=held.run, warning=warning)
        say = log.warning
        if outcome.is_success:
            say = log.debug if held.is_quiet else log.info
        say("run ended" if ending.action in FINAL else "attempt ended", **facts)
