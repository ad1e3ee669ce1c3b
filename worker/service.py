"""The worker as a service: claims, runs commands, keeps them alive in Redis, reports how they ended.

Five threads, each with one thing to wait for: the supervisor's loop (processes), the claimer (queues), the
reporter (ends to be recorded), the pulse (heartbeats), the ear (RQ's commands). They meet in ``_held``: an
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
from pathlib import Path
from queue import SimpleQueue

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common import retry, runs
from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import PayloadError
from kuber_cron.common.measures import JobMeasures
from kuber_cron.common.store import FAILURE_TTL_SECONDS, RESULT_TTL_SECONDS, Keys, Store
from kuber_cron.worker import command, logfile, rq_worker
from kuber_cron.worker.command import Ended, Launch, Running
from kuber_cron.worker.ledger import Action, Ending, Ledger, Started
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.outcome import Outcome
from kuber_cron.worker.output import Captured, Sink
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


@dataclass(frozen=True, slots=True)
class _Held:
    """An attempt of ours between its start script and its recorded end."""

    run: str
    execution: str
    started: Started
    payload: runs.Payload | None


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
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._slot_freed = threading.Condition(self._lock)
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._draining = threading.Event()
        self._done = threading.Event()
        self._grace_seconds = 0.0
        self._recent: deque[Recent] = deque(maxlen=_RECENT)
        self._succeeded = self._failed = 0
        self._working_seconds = 0.0
        self._acked_at = self._beat_tried_at = clock.elapsed()
        self._newer_payload = False
        self._threads: dict[str, threading.Thread] = {}
        metrics.busy_from(lambda: len(self._held))

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
        loops = {
            "supervisor": self._supervisor.run,
            "reporter": self._report_loop,
            "pulse": self._pulse_loop,
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
        with self._slot_freed:
            self._slot_freed.notify_all()
        log.info("worker drains", worker=self.name, running=len(self._held), grace_seconds=grace_seconds)
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
                free = self._await_slot()
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

    def _await_slot(self) -> int:
        with self._slot_freed:
            self._slot_freed.wait_for(
                lambda: len(self._held) < self._options.slots or self._draining.is_set()
            )
            return self._options.slots - len(self._held)

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
            launch = self._launch(payload, execution, started)
        except PayloadError as error:
            problem = error.message
            launch = self._quarantined(run, execution, started, error)
        except ValueError as error:
            problem = str(error)
            launch = self._quarantined(run, execution, started, PayloadError(problem, reason="malformed"))
        with self._lock:
            self._held[execution] = _Held(run, execution, started, payload)
        if payload is not None:
            if started.queued_at is not None:
                waited = (self._clock.now() - started.queued_at).total_seconds()
                self._measures.start_latency.labels(payload.origin).observe(max(0.0, waited))
            self._measures.attempt_started(payload.job, recovered=started.recovered)
        if problem:
            self._ended.put(self._never_ran(launch, Outcome(kind="failed"), problem))
        elif not self._supervisor.start(launch):
            self._ended.put(self._never_ran(launch, Outcome(kind="interrupted"), "the worker drains"))

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
                log.warning("claimed run dropped", run=run, reason=answer)
                return None
            return answer

    def _launch(self, payload: runs.Payload, execution: str, started: Started) -> Launch:
        has_shell = isinstance(payload.command, str)
        path = None
        if self._options.log_dir is not None:
            path = logfile.path_of(
                self._options.log_dir, job=payload.job, run_id=payload.run, attempt=started.attempt
            )
        return Launch(
            run_id=payload.run,
            job=payload.job,
            execution_id=execution,
            attempt=started.attempt,
            scheduled_at=payload.scheduled_at,
            argv=command.argv(payload.command, payload.shell),
            stdin=None if payload.stdin is None else payload.stdin.encode(),
            env=command.environment(
                self._options.environ,
                payload.env,
                job=payload.job,
                run_id=payload.run,
                execution_id=execution,
                attempt=started.attempt,
                scheduled_at=payload.scheduled_at,
                shell=payload.shell if has_shell else None,
            ),
            inherits_home="HOME" not in payload.env,
            cwd=command.working_directory(payload.cwd, payload.env),
            user=payload.user,
            user_required=self._options.user_required,
            umask=None if payload.umask is None else int(payload.umask, 8),
            nice=payload.nice,
            memory_bytes=payload.memory,
            cpu_seconds=payload.cpu_time,
            timeout_seconds=payload.timeout,
            kill_grace_seconds=payload.kill_grace,
            success_codes=frozenset(payload.success_codes),
            log_path=path,
            log_limit_bytes=payload.log_limit,
        )

    def _quarantined(self, run: str, execution: str, started: Started, error: PayloadError) -> Launch:
        if error.reason == "version":
            self._newer_payload = True
        self._metrics.quarantined.labels(error.reason).inc()
        log.error("run cannot be read", run=run, reason=error.reason, error=error.message)
        return Launch(run_id=run, job="", execution_id=execution, attempt=started.attempt, argv=(), env={})

    def _never_ran(self, launch: Launch, outcome: Outcome, sentence: str) -> Ended:
        return Ended(
            launch=launch,
            outcome=outcome,
            ended_at=self._clock.now(),
            captured=Captured(head=f"kuber-cron: {sentence}\n"),
        )

    # --- the supervisor's callbacks: quick, or every command waits ---------------------------------

    def _on_started(self, launch: Launch, pid: int) -> None:
        held = self._held.get(launch.execution_id)
        quiet = held is not None and held.payload is not None and held.payload.quiet
        say = log.debug if quiet else log.info
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
            with self._slot_freed:
                self._held.pop(ended.launch.execution_id, None)
                self._slot_freed.notify_all()

    def _report(self, ended: Ended) -> None:
        held = self._held[ended.launch.execution_id]
        decision = self._decision(held, ended.outcome)
        action, delay = _action(decision, ended.outcome)
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

    def _decision(self, held: _Held, outcome: Outcome) -> retry.Decision:
        if held.payload is None:
            return (
                retry.Requeue(cause="interrupted", spent=held.started.spent)
                if self._newer_payload
                else (retry.Final(kind=outcome.kind))
            )
        return retry.decide(
            _policy(held.payload),
            outcome.kind,
            exit_code=outcome.exit_code,
            spent=held.started.spent,
            rng=self._rng,
        )

    def _recorded(self, held: _Held, ending: Ending) -> str:
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

    def _count(self, held: _Held, ended: Ended, ending: Ending, verdict: str) -> None:
        outcome = ended.outcome
        job = held.payload.job if held.payload else ""
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
        quiet = held.payload is not None and held.payload.quiet
        say = log.debug if quiet and outcome.is_success else log.info if outcome.is_success else log.warning
        say("run ended" if ending.action in {"finish", "fail", "stop"} else "attempt ended", **facts)

    # --- heartbeats ------------------------------------------------------------------------------

    def _pulse_loop(self) -> None:
        interval = self._options.ttl_seconds / 3
        while not self._done.is_set():
            seconds = interval
            try:
                self._beat()
            except RedisError as error:
                log.warning("heartbeat not acknowledged", error=str(error))
                self._metrics.redis_is(up=False)
                self._fence_ourselves(error)
                seconds = min(interval, 1.0)
            except Exception:
                # Without heartbeats every run here would be taken away: the loop has to go on.
                log.exception("a heartbeat failed")
            self._done.wait(seconds)

    def _beat(self) -> None:
        sent = self._clock.elapsed()
        with self._lock:
            held = list(self._held.values())
        pulses = self._beats.beat([(one.run, one.execution) for one in held], self._clock.now())
        self._acked_at = self._beat_tried_at = sent
        self._metrics.redis_is(up=True)
        for one, pulse in zip(held, pulses, strict=True):
            if pulse == "GONE" and one.execution in self._held:
                log.warning("the run is not ours any more: its command is killed", run=one.run)
                self._supervisor.stop(one.execution, "lost", grace_seconds=0.0)
            elif pulse == "STOP":
                self._supervisor.stop(one.execution, "stopped")
        self._registration.beat(
            busy=bool(held),
            succeeded=self._succeeded,
            failed=self._failed,
            working_seconds=self._working_seconds,
        )

    def _fence_ourselves(self, error: RedisError) -> None:
        """End what another worker may soon be given (spec: reliability.md §6, Self-fencing)."""
        now = self._clock.elapsed()
        if _nobody_can_take_over(error):
            self._acked_at += now - self._beat_tried_at
        self._beat_tried_at = now
        silent, ttl = now - self._acked_at, self._options.ttl_seconds
        if silent < ttl / 2:
            return
        grace = max(0.0, ttl - 2.0 - silent)
        for one in list(self._held.values()):
            if one.payload is None or one.payload.on_lost_heartbeat == "kill":
                self._supervisor.stop(one.execution, "lost", grace_seconds=grace)

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
        for one in list(self._held.values()):
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
        silent = self._clock.elapsed() - self._acked_at
        return "ok" if silent < self._options.ttl_seconds else f"redis has not answered for {silent:.0f} s"

    def _check_worker(self) -> str:
        if self._draining.is_set():
            return "draining"
        if self._newer_payload:
            return "runs of a newer version wait: update this worker"
        return "ok"


def _policy(payload: runs.Payload) -> retry.Policy:
    return retry.Policy(
        retries=payload.retries,
        retry_delay=payload.retry_delay,
        retry_backoff=payload.retry_backoff,
        retry_max_delay=payload.retry_max_delay,
        retry_jitter=payload.retry_jitter,
        retry_on=None if payload.retry_on is None else frozenset(payload.retry_on),
        no_retry_on=frozenset(payload.no_retry_on),
        execution="at_most_once" if payload.execution == "at_most_once" else "at_least_once",
        max_lost=payload.max_lost,
        on_interrupt="fail" if payload.on_interrupt == "fail" else "requeue",
    )


def _action(decision: retry.Decision, outcome: Outcome) -> tuple[Action, float]:
    match decision:
        case retry.Again(delay_seconds=delay):
            return "retry", delay
        case retry.Requeue():
            return "requeue", 0.0
        case retry.Final():
            return {"success": ("finish", 0.0), "stopped": ("stop", 0.0)}.get(outcome.kind, ("fail", 0.0))  # type: ignore[return-value] # mypy widens the literal


def _nobody_can_take_over(error: RedisError) -> bool:
    """Whether Redis itself is away or loading, so that no reaper can act meanwhile."""
    words = str(error).lower()
    return "refused" in words or "loading" in words or "no such file" in words
