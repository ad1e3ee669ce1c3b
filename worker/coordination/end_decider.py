"""The end decider: what the end script is to do with a run whose attempt has ended, or could not be started."""

import random

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.runs import retry_policy
from kuber_cron.worker.coordination.claim_pause import ClaimTrouble
from kuber_cron.worker.coordination.run_store import EndAction, RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution.launch import AttemptResult
from kuber_cron.worker.execution.outcome import Outcome
from kuber_cron.worker.execution.shortage import Shortage

log = structlog.get_logger(__name__)


def end_action(decision: retry_policy.RetryDecision, outcome: Outcome) -> tuple[EndAction, float]:
    """Return what the end script is to do by the retry policy's decision, and a retry's backoff in seconds."""
    match decision:
        case retry_policy.Retry(delay_seconds=delay):
            return "retry", delay
        case retry_policy.Requeue():
            return "requeue", 0.0
        case retry_policy.GiveUp():
            final: dict[str, EndAction] = {"success": "finish", "stopped": "stop"}
            return final.get(outcome.kind, "fail"), 0.0


class EndDecider:
    """Decides by the job's retry policy, or that the run goes back to its queue."""

    def __init__(self, context: WorkerContext, run_store: RunStore, rng: random.Random) -> None:
        """``rng`` is where the jitter of backoffs comes from."""
        self._context = context
        self._run_store = run_store
        self._rng = rng

    def action(self, attempt: RunningAttempt, result: AttemptResult) -> tuple[EndAction, float]:
        """Return what the end script is to do, and a retry's backoff in seconds."""
        outcome = result.outcome
        if attempt.problem is not None:
            if attempt.problem.reason != "version":
                return "quarantine", 0.0
            self._context.metrics.returned.labels("newer").inc()
            return "return", 0.0
        if attempt.payload is None:
            raise ValueError(attempt.run_id)
        if outcome.kind == "interrupted" and result.pid is None:
            return "return", 0.0  # drained before it ran: no attempt, also for a job that has only one
        if result.shortage is not None and self._goes_back(attempt, result.shortage):
            return "return", 0.0
        decision = retry_policy.decide(
            attempt.payload,
            outcome.kind,
            exit_code=outcome.exit_code,
            spent=attempt.start.spent,
            rng=self._rng,
        )
        return end_action(decision, outcome)

    def _goes_back(self, attempt: RunningAttempt, shortage: Shortage) -> bool:
        """Return True where the run is for another worker, or for this one later; claiming pauses then.

        A user that no worker has would hold up the queue for ever: such a run goes once round, and fails at the last.
        """
        if shortage.kind == "user":
            try:
                if not self._run_store.has_able_others(attempt.queue, refusing=attempt.run_id):
                    return False
            except RedisError as error:
                self._context.outage.failed("asking for other workers failed", error, run=attempt.run_id)
        self._context.metrics.returned.labels(shortage.kind).inc()
        seconds = self._context.pause.begin(ClaimTrouble(shortage.kind, shortage.sentence))
        log.warning(
            "command cannot be started here: run returned, claiming pauses",
            job=attempt.job,
            run=attempt.run_id,
            why=shortage.sentence,
            seconds=round(seconds, 1),
        )
        return True
