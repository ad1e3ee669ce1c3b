"""The attempt starter: from a claimed run to a command that the supervisor runs.

A start is asked for with the same execution id until there is an answer, which is the same each time. A run that cannot
be read or verified goes to quarantine, and the worker goes on. One whose payload is of a newer version is returned to
its queue, and claiming pauses: in a rolling update the newer workers take it.
"""

import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.runs.payload import Payload, PayloadError
from kuber_cron.worker.coordination import rq_codec
from kuber_cron.worker.coordination.claim_probe import newer_payload
from kuber_cron.worker.coordination.result_reporter import ResultReporter
from kuber_cron.worker.coordination.run_store import AttemptStart, Refusal, RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution import leftover_processes
from kuber_cron.worker.execution.launch import AttemptResult, Launch
from kuber_cron.worker.execution.outcome import Outcome
from kuber_cron.worker.execution.shortage import Shortage
from kuber_cron.worker.execution.supervisor import Supervisor

log = structlog.get_logger(__name__)

_AFTER_ERROR_SECONDS = 0.5


class AttemptStarter:
    """Starts attempts of claimed runs, one at a time."""

    def __init__(
        self,
        context: WorkerContext,
        run_store: RunStore,
        *,
        queues: Collection[str],
        supervisor: Supervisor,
        reporter: ResultReporter,
        note_count: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            context: The worker.
            run_store: On a connection without retries.
            queues: Those that the worker serves; a run that was made for another is refused.
            supervisor: Runs the commands.
            reporter: Takes the results of attempts whose command was never started.
            note_count: Takes note of the worker's count of heartbeats and starts, as a start has raised it.
        """
        self._context = context
        self._run_store = run_store
        self._queues = queues
        self._supervisor = supervisor
        self._reporter = reporter
        self._note_count = note_count

    def start(self, run_id: str, draining: threading.Event) -> None:
        """Start an attempt of a claimed run, unless the start script or the payload stands against it.

        Raises:
            redis.RedisError: Redis did not answer until ``draining``; the run stays in the claim list.
        """
        execution_id = secrets.token_hex(16)
        answered = self._start_in_redis(run_id, execution_id, draining)
        if answered is None:
            return
        start, asked_at = answered
        self._note_count(start.count)
        context, options = self._context, self._context.options
        try:
            payload = self._payload(start.data, run_id)
            launch = Launch.from_payload(
                payload,
                execution_id,
                start.attempt,
                log_dir=options.log_dir,
                environ=options.environ,
                user_required=options.user_required,
                log_required=context.pause.is_log_required,
                redact=options.redact,
            )
        except PayloadError as error:
            self._refuse(RunningAttempt(run_id, execution_id, start, None), error)
            return
        except (ValueError, TypeError, AttributeError) as error:  # a payload whose values are of other types
            problem = PayloadError(str(error), reason="malformed")
            self._refuse(RunningAttempt(run_id, execution_id, start, None), problem)
            return
        attempt = RunningAttempt(run_id, execution_id, start, payload, asked_at=asked_at)
        context.slots.occupy(attempt)
        if start.attempt > 1:
            try:
                self._end_leftovers(run_id, draining)
            except OSError as error:
                # An earlier attempt may still go on here, so this worker must not start another beside it.
                self._return_for(
                    launch, Shortage("resources", f"processes cannot be searched: {error.strerror}")
                )
                return
        if start.queued_at is not None:
            waited = (context.clock.now() - start.queued_at).total_seconds()
            context.job_metrics.start_latency.labels(payload.origin).observe(max(0.0, waited))
        if not self._supervisor.start(launch):
            self._report_unstarted(launch, Outcome(kind="interrupted"), "the worker drains")

    def _start_in_redis(
        self, run_id: str, execution_id: str, draining: threading.Event
    ) -> tuple[AttemptStart, float] | None:
        """Return the attempt that the start script has counted, and when it was asked; None where it refuses the run."""
        while True:
            asked_at = self._context.clock.elapsed()
            try:
                reply = self._run_store.start(run_id, execution_id, self._context.clock.now())
            except RedisError as error:
                self._context.outage.failed("starting a run failed: trying again", error, run=run_id)
                if draining.wait(_AFTER_ERROR_SECONDS):
                    raise
                continue
            if isinstance(reply, AttemptStart):
                return reply, asked_at
            match reply.refusal:
                case Refusal.HELD:
                    pass
                case Refusal.QUARANTINED:
                    self._context.metrics.quarantined.labels("malformed").inc()
                case Refusal.DROPPED:
                    self._context.metrics.dropped.inc()
            log_line = log.info if reply.refusal is Refusal.HELD else log.warning
            log_line("claimed run not started", run=run_id, reason=reply.sentence)
            return None

    def _payload(self, data: bytes, run_id: str) -> Payload:
        """Return the run's payload, verified, and made for this worker.

        Raises:
            PayloadError: It cannot be read, is not ours, or is for other workers.
        """
        payload = rq_codec.read_payload(data, self._context.options.signing_keys, run_id)
        if payload.origin not in self._queues:
            # Signed for other workers: pushed here, it would run with what this one may do.
            raise PayloadError(
                f"the run was made for the queue {payload.origin}, which this worker does not serve",
                reason="signature",
            )
        return payload

    def _end_leftovers(self, run_id: str, draining: threading.Event) -> None:
        """Kill what is left on this machine of the run's earlier attempts.

        Their worker has died, or they have left a process behind.
        """
        while True:
            try:
                earlier = self._run_store.ended_executions(run_id)
                break
            except RedisError as error:
                event = "reading a run's earlier attempts failed: trying again"
                self._context.outage.failed(event, error, run=run_id)
                if draining.wait(_AFTER_ERROR_SECONDS):
                    return  # it will not be started either
        if killed := leftover_processes.end(earlier):
            log.warning("processes of an earlier attempt killed", run=run_id, processes=killed)

    def _refuse(self, attempt: RunningAttempt, problem: PayloadError) -> None:
        if problem.reason == "version":
            seconds = self._context.pause.begin(newer_payload(problem))
            log.error(
                "run of a newer version: claiming pauses",
                run=attempt.run_id,
                error=problem.message,
                seconds=round(seconds, 1),
            )
        else:
            self._context.metrics.quarantined.labels(problem.reason).inc()
            log.error(
                "run put in quarantine", run=attempt.run_id, reason=problem.reason, error=problem.message
            )
        self._context.slots.occupy(replace(attempt, problem=problem))
        launch = Launch.of_unreadable_run(attempt.run_id, attempt.execution_id, attempt.start.attempt)
        self._report_unstarted(launch, Outcome(kind="failed"), problem.message)

    def _return_for(self, launch: Launch, shortage: Shortage) -> None:
        """Return the run to its queue, unspent, and pause: the worker lacks what a start needs."""
        now = self._context.clock.now()
        result = AttemptResult.never_ran(launch, Outcome(kind="failed"), shortage.sentence, now)
        self._reporter.report(replace(result, shortage=shortage))

    def _report_unstarted(self, launch: Launch, outcome: Outcome, sentence: str) -> None:
        self._reporter.report(AttemptResult.never_ran(launch, outcome, sentence, self._context.clock.now()))
