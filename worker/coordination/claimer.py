"""Claiming: runs come from the queues into this worker's own claim list, are started, and handed to the supervisor.

Everything here may be cut off between two calls. A claimed id stays in the claim list until its start script has
taken it out; after any error, and every few seconds (a claim that was given up may still arrive), the list is read,
and what it holds is started or, when we leave, given back. A start is asked for with the same execution id until there
is an answer, which is the same each time.

A run that cannot be read or verified goes to quarantine, and the worker goes on. One whose payload is of a newer
version is put back, and the worker claims nothing more and is not ready: in a rolling update the newer workers take it.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.runs.payload import Payload, PayloadError
from kuber_cron.worker.coordination import rq_registration
from kuber_cron.worker.coordination.queue_rotation import QueueRotation
from kuber_cron.worker.coordination.run_store import HELD, RunStore, Started
from kuber_cron.worker.coordination.slots import RunningAttempt, Slots
from kuber_cron.worker.execution import launching, leftover_processes
from kuber_cron.worker.execution.launch import AttemptResult, Launch
from kuber_cron.worker.execution.outcome import Outcome
from kuber_cron.worker.metrics import WorkerMetrics

log = structlog.get_logger(__name__)

# How long an idle claimer waits on the queue whose turn it is before it looks at the others.
_BLOCK_SECONDS = 0.5
_BLOCK_SECONDS_OF_SEVERAL = 0.2
_AFTER_ERROR_SECONDS = 0.5
_CUT_OFF_SECONDS = 0.25
_LOOK_SECONDS = 5.0  # at the claim list, though nothing seems to have gone wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What runs are started with.

    Attributes:
        log_dir: Where each run's output goes; None for nowhere.
        environ: What commands inherit, less our own variables.
        keys_for_signatures: Any of them may have signed a run; none: unsigned runs are executed too.
        user_required: Refuse a command where the worker cannot become its user.
        redact: Patterns of the variables whose values are hidden in what is kept of outputs.
    """

    log_dir: Path | None
    environ: Mapping[str, str]
    keys_for_signatures: Sequence[bytes] = ()
    user_required: bool = False
    redact: Sequence[str] = ()


class Claimer:
    """Claims as long as there are free slots and nobody drains."""

    def __init__(
        self,
        ledger: RunStore,
        *,
        waiting: "Redis",
        turns: QueueRotation,
        slots: Slots,
        conditions: Conditions,
        clock: Clock,
        metrics: WorkerMetrics,
        measures: JobMetrics,
        is_suspended: Callable[[], bool],
        is_cut_off: Callable[[], bool],
        start: Callable[[Launch], bool],
        started: Callable[[RunningAttempt], None],
        ended: Callable[[AttemptResult], None],
    ) -> None:
        """Claims nothing yet.

        Args:
            ledger: For claims and starts, on a connection without retries.
            waiting: A client whose time-out is longer than the longest wait on a queue.
            turns: In which order the queues are looked at.
            slots: Where started attempts are kept.
            conditions: What they are started with.
            clock: For what is told to people.
            metrics: Where runs that cannot be read are counted.
            measures: Where started attempts are counted.
            is_suspended: Whether somebody has said ``rq suspend``.
            is_cut_off: Whether heartbeats have not been acknowledged for so long that commands are being ended.
            start: The supervisor's.
            started: Told of attempts that it has accepted.
            ended: Told of attempts that never ran.
        """
        self._ledger = ledger
        self._waiting = waiting
        self._turns = turns
        self._several = len(turns.queues) > 2  # a queue and its low list count as one
        self._slots = slots
        self._conditions = conditions
        self._clock = clock
        self._metrics = metrics
        self._measures = measures
        self._is_suspended = is_suspended
        self._is_cut_off = is_cut_off
        self._start = start
        self._tell_started = started
        self._tell_ended = ended
        self.has_newer_payload = False
        """A run of a newer version was met: nothing is claimed any more."""

    def run(self, draining: threading.Event) -> None:
        """Claim and start until ``draining``."""
        doubtful, look_at = False, 0.0
        while not draining.is_set():
            try:
                free = self._slots.await_free(draining.is_set)
                if draining.is_set():
                    return
                if self._is_cut_off():
                    # Each run would be ended at once, and start after start would spend what it may be lost.
                    draining.wait(_CUT_OFF_SECONDS)
                    continue
                if doubtful or self._clock.elapsed() >= look_at:
                    found = self._ledger.unstarted()[::-1][:free]
                    look_at = self._clock.elapsed() + _LOOK_SECONDS
                else:
                    found = []
                doubtful = False
                for run in found or self._next_runs(free, draining):
                    if draining.is_set():
                        return  # what is claimed and not begun goes back to its queue when we leave
                    if self._is_cut_off():
                        doubtful = True  # it stays in the claim list meanwhile
                        break
                    self._begin(run, draining)
            except RedisError as error:
                # A claim or a start may have happened without our hearing of it: the claim list knows.
                doubtful = True
                log.warning("redis does not answer: nothing is claimed meanwhile", error=str(error))
                draining.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # A run that cannot be begun must not end the worker.
                doubtful = True
                self._metrics.errors.inc()
                log.exception("a claim failed")
                draining.wait(_AFTER_ERROR_SECONDS)

    def _next_runs(self, free: int, draining: threading.Event) -> list[str]:
        if self.has_newer_payload or self._is_suspended():
            draining.wait(_BLOCK_SECONDS)
            return []
        order = self._turns.next()
        found = self._ledger.claim(order, free)
        if found:
            return found
        block = _BLOCK_SECONDS_OF_SEVERAL if self._several else _BLOCK_SECONDS
        return self._ledger.await_claim(self._waiting, self._turns.queues[0], block)

    def _begin(self, run: str, draining: threading.Event) -> None:
        execution = secrets.token_hex(16)
        started = self._started(run, execution, draining)
        if started is None:
            return
        try:
            payload = self._read(started.data, run)
            launch = launching.launch(
                payload,
                execution,
                started.attempt,
                log_dir=self._conditions.log_dir,
                environ=self._conditions.environ,
                user_required=self._conditions.user_required,
                redact=self._conditions.redact,
            )
        except PayloadError as error:
            self._refuse(RunningAttempt(run, execution, started, None, error))
            return
        except (ValueError, TypeError, AttributeError) as error:  # a payload whose values are of other types
            self._refuse(
                RunningAttempt(run, execution, started, None, PayloadError(str(error), reason="malformed"))
            )
            return
        held = RunningAttempt(run, execution, started, payload)
        self._slots.put(held)
        if started.attempt > 1:
            self._sweep(run, draining)
        if started.queued_at is not None:
            waited = (self._clock.now() - started.queued_at).total_seconds()
            self._measures.start_latency.labels(payload.origin).observe(max(0.0, waited))
        if self._start(launch):
            self._measures.attempt_started(payload.job, recovered=started.recovered)
            self._tell_started(held)
        else:
            self._never_ran(launch, Outcome(kind="interrupted"), "the worker drains")

    def _read(self, data: bytes, run: str) -> Payload:
        """The run's payload, verified, and made for this worker.

        Raises:
            PayloadError: It is not.
        """
        payload = rq_registration.read(data, self._conditions.keys_for_signatures, run)
        if payload.origin not in self._turns.queues:
            # Signed for other workers: pushed here, it would run with what this one may do.
            raise PayloadError(
                f"the run was made for the queue {payload.origin}, which this worker does not serve",
                reason="signature",
            )
        return payload

    def _started(self, run: str, execution: str, draining: threading.Event) -> Started | None:
        """The start script's answer, asked for until there is one: it is the same each time."""
        while True:
            try:
                answer = self._ledger.start(run, execution, self._clock.now())
            except RedisError as error:
                log.warning("a start got no answer, asking again", run=run, error=str(error))
                if draining.wait(_AFTER_ERROR_SECONDS):
                    raise
                continue
            if isinstance(answer, Started):
                return answer
            is_held = answer.text.startswith(HELD)
            if answer.reason is not None:
                self._metrics.quarantined.labels(answer.reason).inc()
            elif not is_held:
                self._metrics.dropped.inc()
            say = log.info if is_held else log.warning
            say("claimed run not started", run=run, reason=answer.text)
            return None

    def _sweep(self, run: str, draining: threading.Event) -> None:
        """Nothing of the run's earlier attempts goes on here: their worker has died, or they left a process behind."""
        while True:
            try:
                earlier = self._ledger.executions(run)
                break
            except RedisError as error:
                log.warning("earlier attempts are not known, asking again", run=run, error=str(error))
                if draining.wait(_AFTER_ERROR_SECONDS):
                    return  # it will not be started either
        if killed := leftover_processes.sweep(earlier):
            log.warning("processes of an earlier attempt were killed", run=run, processes=killed)

    def _refuse(self, held: RunningAttempt) -> None:
        error = held.problem
        if error is None:
            raise ValueError(held.run)
        if error.reason == "version":
            self.has_newer_payload = True
            log.error(
                "a newer worker has to take this run: claiming nothing more",
                run=held.run,
                error=error.message,
            )
        else:
            self._metrics.quarantined.labels(error.reason).inc()
            log.error("run put in quarantine", run=held.run, reason=error.reason, error=error.message)
        self._slots.put(held)
        launch = launching.unreadable(held.run, held.execution, held.started.attempt)
        self._never_ran(launch, Outcome(kind="failed"), error.message)

    def _never_ran(self, launch: Launch, outcome: Outcome, sentence: str) -> None:
        self._tell_ended(launching.never_ran(launch, outcome, sentence, self._clock.now()))
