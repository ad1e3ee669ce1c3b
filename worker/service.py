"""The worker as a service: claims, runs commands, keeps them alive in Redis, reports how they ended.

Five threads, each with one thing to wait for: the supervisor's loop (processes), the claimer (queues), the
reporter (ends to be recorded), the pulse (heartbeats), the ear (RQ's commands). They meet in ``Slots``: an
attempt is in there from its start script until its end is recorded, and takes a slot as long.

Outcomes wait in memory while Redis is away and are sent when it is back. What this does *not* guarantee: that
a run is not repeated by another worker after this one has been cut off for longer than its ttl; then the
command here is killed first, unless the job says ``on_lost_heartbeat: continue``.
"""

import random
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common import retry
from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import PayloadError
from kuber_cron.common.measures import JobMeasures
from kuber_cron.common.store import FAILURE_TTL_SECONDS, RESULT_TTL_SECONDS, Keys, Store
from kuber_cron.worker import launching, rq_worker
from kuber_cron.worker.command import Ended, Launch, Running
from kuber_cron.worker.held import Held, Slots
from kuber_cron.worker.ledger import HELD, Ending, Ledger, Started
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.outcome import Outcome
from kuber_cron.worker.output import Sink
from kuber_cron.worker.pulse import Pulse
from kuber_cron.worker.supervisor import Supervisor, no_sinks

log = structlog.get_logger(__name__)

# How long the claimer waits on its first queue before it looks at the others and at what else has changed.
_BLOCK_SECONDS = 1.0
_BLOCK_SECONDS_OF_SEVERAL = 0.2
_AFTER_ERROR_SECONDS = 0.5
# After a drain, outcomes that Redis does not take are given up this late; the leader then finds them lost.
_FLUSH_SECONDS = 5.0
_RECENT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one worker needs to know.

    Attributes:
        queues: In the order of preference; each one's ``-low`` list is served after all of them.
        environ: What commands inherit, less our own variables.
        keys_for_signatures: Any of them may have signed a run; none: unsigned runs are executed too.
        user_required: Refuse a command where the worker cannot become its user.
    """

    keys: Keys
    queues: Sequence[str] = ("default",)
    slots: int = 4
    ttl_seconds: float = 15.0
    log_dir: Path | None
    environ: Mapping[str, str]
    keys_for_signatures: Sequence[bytes] = ()
    user_required: bool = False


@dataclass(frozen=True, slots=True)
class Recent:
    """An attempt that has ended, for people who watch."""

    job: str
    outcome: Outcome
    ended_at: datetime
    seconds: float
    attempt: int


class Worker:
    """One worker process. ``start`` returns at once; ``drain`` ends it, ``wait`` tells when that is done."""

    def __init__(
        self,
        options: Options,
        *,
        connect: Callable[[str], "Redis"],
        clock: Clock,
        metrics: WorkerMetrics,
        measures: JobMeasures,
        sinks: Callable[[Launch], Sequence[Sink]] = no_sinks,
        rng: random.Random | None = None,
    ) -> None:
        """``connect`` takes a purpose: ``claiming``, ``general`` or ``rq`` (spec: reliability.md §4, §6)."""
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._measures = measures
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self.name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._queues = [*options.queues, *(f"{queue}-low" for queue in options.queues)]
        self._claim_client = connect("claiming")
        self._claims = self._ledger(connect("claiming"))
        self._ends = self._ledger(connect("claiming"))
        self._beats = self._ledger(connect("claiming"))
        self._listener = connect("general")
        self._registration = rq_worker.Registration(
            self._queues, self.name, connect("rq"), options.ttl_seconds
        )
        self._supervisor = Supervisor(
            on_started=self._on_started, on_ended=self._on_ended, sinks=sinks, clock=clock
        )
        self._slots = Slots(options.slots)
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._draining = threading.Event()
        self._done = threading.Event()
        self._grace_seconds = 0.0
        self._recent: deque[Recent] = deque(maxlen=_RECENT)
        self._succeeded = self._failed = 0
        self._working_seconds = 0.0
        self._pulse = Pulse(
            self._beats,
            self._slots,
            clock=clock,
            ttl_seconds=options.ttl_seconds,
            stop=self._supervisor.stop,
            tell_rq=self._tell_rq,
            metrics=metrics,
        )
        self._newer_payload = False
        self._threads: dict[str, threading.Thread] = {}
        metrics.busy_from(lambda: len(self._slots))

    def _ledger(self, client: "Redis") -> Ledger:
        return Ledger(
            Store(client, self._options.keys), worker=self.name, ttl_seconds=self._options.ttl_seconds
        )

    # --- for the outside -------------------------------------------------------------------------

    def start(self) -> None:
        """Registered with RQ, claiming from now on.

        Raises:
            redis.RedisError: Redis did not answer; nothing has been started.
        """
        self._registration.enter()
        self._beats.announce(self._clock.now())
        log.info("worker started", worker=self.name, queues=self._queues, slots=self._options.slots)
        loops: dict[str, Callable[[], None]] = {
            "supervisor": self._supervisor.run,
            "reporter": self._report_loop,
            "pulse": partial(self._pulse.run, self._done),
            "claimer": self._claim_loop,
            "ear": self._listen_loop,
        }
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=f"worker-{name}", daemon=True)
            self._threads[name] = thread
            thread.start()

    def drain(self, grace_seconds: float) -> None:
        """Nothing new is started; commands may finish within the grace, then they are ended and requeued."""
        if self._draining.is_set():
            return
        self._grace_seconds = grace_seconds
        self._draining.set()
        self._slots.wake()
        log.info("worker drains", worker=self.name, running=len(self._slots), grace_seconds=grace_seconds)
        self._supervisor.drain(grace_seconds)
        threading.Thread(target=self._leave, name="worker-leave", daemon=True).start()

    def abort(self) -> None:
        """Every command is killed now; what ran is requeued. Also ends the worker."""
        self.drain(0.0)
        self._supervisor.kill_all()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Whether the worker has ended."""
        return self._done.wait(timeout_seconds)

    def running(self) -> list[Running]:
        """The commands that run now."""
        return self._supervisor.running()

    def recent(self) -> list[Recent]:
        """The attempts that ended last, newest first."""
        return list(self._recent)

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is started any more."""
        return self._draining.is_set()

    def checks(self) -> dict[str, Callable[[], str]]:
        """The health checks by name: ``ok``, or a sentence."""
        return {"redis": self._check_redis, "worker": self._check_worker}

    # --- claiming --------------------------------------------------------------------------------

    def _claim_loop(self) -> None:
        doubtful = False
        while not self._draining.is_set():
            try:
                free = self._slots.await_free(self._draining.is_set)
                if self._draining.is_set():
                    return
                found = self._claims.unstarted()[:free] if doubtful else []
                doubtful = False
                for run in found or self._next_runs(free):
                    if self._draining.is_set():
                        return  # what is claimed and not begun goes back to its queue when we leave
                    self._begin(run)
            except RedisError as error:
                # A claim or a start may have happened without our hearing of it: the claim list knows.
                doubtful = True
                log.warning("redis does not answer: nothing is claimed meanwhile", error=str(error))
                self._draining.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # A run that cannot be begun must not end the worker.
                doubtful = True
                log.exception("a claim failed")
                self._draining.wait(_AFTER_ERROR_SECONDS)

    def _next_runs(self, free: int) -> list[str]:
        if self._newer_payload or self._registration.is_suspended():
            self._draining.wait(_BLOCK_SECONDS)
            return []
        found = self._claims.claim(self._queues, free)
        if found:
            return found
        several = len(self._options.queues) > 1
        block = _BLOCK_SECONDS_OF_SEVERAL if several else _BLOCK_SECONDS
        return self._claims.await_claim(self._claim_client, self._queues[0], block)

    def _begin(self, run: str) -> None:
        execution = secrets.token_hex(16)
        started = self._started(run, execution)
        if started is None:
            return
        payload = None
        problem = ""
        try:
            payload = rq_worker.read(started.data, self._options.keys_for_signatures)
            launch = launching.launch(
                payload,
                execution,
                started.attempt,
                log_dir=self._options.log_dir,
                environ=self._options.environ,
                user_required=self._options.user_required,
            )
        except PayloadError as error:
            problem = error.message
            launch = self._quarantined(run, execution, started, error)
        except ValueError as error:
            problem = str(error)
            launch = self._quarantined(run, execution, started, PayloadError(problem, reason="malformed"))
        self._slots.put(Held(run, execution, started, payload))
        if payload is not None:
            if started.queued_at is not None:
                waited = (self._clock.now() - started.queued_at).total_seconds()
                self._measures.start_latency.labels(payload.origin).observe(max(0.0, waited))
            self._measures.attempt_started(payload.job, recovered=started.recovered)
        if problem:
            self._never_ran(launch, Outcome(kind="failed"), problem)
        elif not self._supervisor.start(launch):
            self._never_ran(launch, Outcome(kind="interrupted"), "the worker drains")

    def _started(self, run: str, execution: str) -> Started | None:
        """The start script's answer, asked for until there is one: it is the same each time."""
        while True:
            try:
                answer = self._claims.start(run, execution, self._clock.now())
            except RedisError as error:
                log.warning("a start got no answer, asking again", run=run, error=str(error))
                if self._draining.wait(_AFTER_ERROR_SECONDS):
                    raise
                continue
            if isinstance(answer, str):
                say = log.info if answer.startswith(HELD) else log.warning
                say("claimed run not started", run=run, reason=answer)
                return None
            return answer

    def _quarantined(self, run: str, execution: str, started: Started, error: PayloadError) -> Launch:
        if error.reason == "version":
            self._newer_payload = True
        self._metrics.quarantined.labels(error.reason).inc()
        log.error("run cannot be read", run=run, reason=error.reason, error=error.message)
        return launching.unreadable(run, execution, started.attempt)

    def _never_ran(self, launch: Launch, outcome: Outcome, sentence: str) -> None:
        self._ended.put(launching.never_ran(launch, outcome, sentence, self._clock.now()))

    # --- the supervisor's callbacks: quick, or every command waits ---------------------------------

    def _on_started(self, launch: Launch, pid: int) -> None:
        held = self._slots.get(launch.execution_id)
        say = log.debug if held is not None and held.is_quiet else log.info
        say("run started", job=launch.job, run=launch.run_id, attempt=launch.attempt, pid=pid)

    def _on_ended(self, ended: Ended) -> None:
        self._ended.put(ended)

    # --- reporting -------------------------------------------------------------------------------

    def _report_loop(self) -> None:
        while (ended := self._ended.get()) is not None:
            try:
                self._report(ended)
            except Exception:
                # The other outcomes must still be recorded; this run's execution expires and is taken back.
                log.exception("an outcome could not be recorded", run=ended.launch.run_id)
            self._slots.free(ended.launch.execution_id)

    def _report(self, ended: Ended) -> None:
        held = self._slots.get(ended.launch.execution_id)
        if held is None:
            raise KeyError(ended.launch.execution_id)
        decision = self._decision(held, ended.outcome)
        action, delay = launching.action(decision, ended.outcome)
        ending = Ending(
            action=action,
            outcome=ended.outcome.kind,
            ended_at=ended.ended_at,
            delay_seconds=delay,
            spends_retry=action == "retry",
            duration_seconds=ended.elapsed_seconds if ended.pid is not None else None,
            result=rq_worker.result_fields(
                action, ended, worker=self.name, attempt=held.started.attempt, ended_at=ended.ended_at
            ),
        )
        verdict = self._recorded(held, ending)
        self._count(held, ended, ending, verdict)

    def _decision(self, held: Held, outcome: Outcome) -> retry.Decision:
        if held.payload is None:
            return (
                retry.Requeue(cause="interrupted", spent=held.started.spent)
                if self._newer_payload
                else (retry.Final(kind=outcome.kind))
            )
        return retry.decide(
            retry.Policy.of(held.payload),
            outcome.kind,
            exit_code=outcome.exit_code,
            spent=held.started.spent,
            rng=self._rng,
        )

    def _recorded(self, held: Held, ending: Ending) -> str:
        """The end script's answer, asked for until there is one or nobody waits for it any more."""
        flush_until: float | None = None
        while True:
            try:
                return self._ends.end(
                    held.run,
                    held.execution,
                    ending,
                    result_ttl_seconds=RESULT_TTL_SECONDS,
                    failure_ttl_seconds=FAILURE_TTL_SECONDS,
                )
            except RedisError as error:
                log.warning("an outcome waits for redis", run=held.run, error=str(error))
                if self._draining.is_set() and not self._threads["supervisor"].is_alive():
                    now = self._clock.elapsed()
                    flush_until = flush_until or now + _FLUSH_SECONDS
                    if now >= flush_until:
                        return "UNSENT"
                self._done.wait(_AFTER_ERROR_SECONDS)

    def _count(self, held: Held, ended: Ended, ending: Ending, verdict: str) -> None:
        outcome = ended.outcome
        job = held.job
        facts = {
            "job": job,
            "run": held.run,
            "attempt": held.started.attempt,
            "outcome": str(outcome),
            "seconds": round(ended.elapsed_seconds, 3),
        }
        if verdict in {"LATE", "UNSENT"}:
            log.warning("outcome not recorded: the run is not ours any more", verdict=verdict, **facts)
            return
        if held.payload is not None:
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
        self._succeeded += outcome.is_success
        self._failed += not outcome.is_success
        self._working_seconds += ended.elapsed_seconds
        self._recent.appendleft(
            Recent(job or held.run, outcome, ended.ended_at, ended.elapsed_seconds, held.started.attempt)
        )
        for warning in ended.warnings:
            log.warning("attempt not quite as asked", job=job, run=held.run, warning=warning)
        say = (
            log.debug
            if held.is_quiet and outcome.is_success
            else log.info
            if outcome.is_success
            else log.warning
        )
        say("run ended" if ending.action in {"finish", "fail", "stop"} else "attempt ended", **facts)

    def _tell_rq(self) -> None:
        self._registration.beat(
            busy=bool(len(self._slots)),
            succeeded=self._succeeded,
            failed=self._failed,
            working_seconds=self._working_seconds,
        )

    # --- RQ's commands ---------------------------------------------------------------------------

    def _listen_loop(self) -> None:
        while not self._done.is_set():
            try:
                with self._listener.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call] # redis-py types it not
                    pubsub.subscribe(self._registration.channel)
                    while not self._done.is_set():
                        message = pubsub.get_message(timeout=1.0)
                        if message is not None:
                            self._obey(message["data"])
            except RedisError as error:
                log.warning("not listening for commands", error=str(error))
                self._done.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # A malformed command must not make the worker deaf.
                log.exception("a command failed")

    def _obey(self, data: bytes) -> None:
        asked = rq_worker.Command.from_message(data)
        log.info("command received", command=asked.word, run=asked.run or None)
        if asked.word == "shutdown":
            self.drain(self._options.ttl_seconds)
            return
        for one in self._slots.all():
            if asked.word == "kill-horse" or asked.execution == one.execution or asked.run == one.run:
                self._supervisor.stop(one.execution, "stopped")

    # --- the end ---------------------------------------------------------------------------------

    def _leave(self) -> None:
        for name in ("supervisor", "claimer"):
            self._threads[name].join()
        self._ended.put(None)
        self._threads["reporter"].join()
        try:
            self._ends.retire()
            self._registration.leave()
        except RedisError as error:
            log.warning("left without a word: redis does not answer", error=str(error))
        log.info("worker ended", worker=self.name)
        self._done.set()

    # --- health ----------------------------------------------------------------------------------

    def _check_redis(self) -> str:
        silent = self._pulse.silent_seconds()
        return "ok" if silent < self._options.ttl_seconds else f"redis has not answered for {silent:.0f} s"

    def _check_worker(self) -> str:
        if self._draining.is_set():
            return "draining"
        if self._newer_payload:
            return "runs of a newer version wait: update this worker"
        return "ok"
