"""The worker as a service: claims, runs commands, keeps them alive in Redis, reports how they ended.

Eight threads, each with one thing to wait for: the supervisor's loop (processes), the claimer (queues), the reporter
(ends to be recorded), the pulse (heartbeats) and its guard (the clock), the ear (RQ's commands), the follower (what
commands say), the trimmer (old log files); a ninth clears up after an earlier worker and ends soon. They meet in ``Slots``: an attempt is in there from its start script
until its end is recorded, and takes a slot as long.

Outcomes wait in memory while Redis is away and are sent when it is back. What this does *not* guarantee: that
a run is not repeated by another worker after this one has been cut off for longer than its ttl; then the
command here is killed first, unless the job says ``on_lost_heartbeat: continue``.
"""

import random
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron import __version__
from kuber_cron.common.clock import Clock
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.worker.coordination import rq_registration
from kuber_cron.worker.coordination.claimer import Claimer, Conditions
from kuber_cron.worker.coordination.command_listener import CommandListener
from kuber_cron.worker.coordination.heartbeat import Heartbeat
from kuber_cron.worker.coordination.leftover_cleanup import LeftoverCleanup
from kuber_cron.worker.coordination.live_output import LiveOutput
from kuber_cron.worker.coordination.notifications import WorkerNotifications
from kuber_cron.worker.coordination.queue_rotation import QueueRotation
from kuber_cron.worker.coordination.result_reporter import FinishedAttempt, ResultReporter
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.slots import Slots
from kuber_cron.worker.execution.launch import AttemptResult, Launch, RunningCommand
from kuber_cron.worker.execution.supervisor import Supervisor, no_sinks
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.output.capture import Sink
from kuber_cron.worker.output.log_retention import LogRetention, Trimmer

log = structlog.get_logger(__name__)

# Threads that only listen or beat are given this long to notice that the worker has ended.
_JOIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What one worker needs to know.

    Attributes:
        queues: In the order of preference; each one's ``-low`` list is served after all of them.
        environ: What commands inherit, less our own variables.
        keys_for_signatures: Any of them may have signed a run; none: unsigned runs are executed too.
        user_required: Refuse a command where the worker cannot become its user.
        redact: Patterns of the variables whose values are hidden in outputs, the log files aside.
        retention: Each job's quota of log files.
    """

    keys: Keys
    queues: Sequence[str] = ("default",)
    slots: int = 4
    ttl_seconds: float = 15.0
    log_dir: Path | None
    environ: Mapping[str, str]
    keys_for_signatures: Sequence[bytes] = ()
    user_required: bool = False
    redact: Sequence[str] = ()
    retention: LogRetention = field(default_factory=LogRetention)


class Worker:
    """One worker process. ``start`` returns at once; ``drain`` ends it, ``wait`` tells when that is done."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        connect: Callable[[str], "Redis"],
        clock: Clock,
        metrics: WorkerMetrics,
        measures: JobMetrics,
        sinks: Callable[[Launch], Sequence[Sink]] = no_sinks,
        rng: random.Random | None = None,
        messenger: NotificationSender | None = None,
    ) -> None:
        """``connect`` takes a purpose: ``claiming``, ``general`` or ``rq`` (spec: reliability.md §4, §6)."""
        self._options = options
        self._clock = clock
        self.name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        turns = QueueRotation(options.queues)
        self._queues = turns.queues
        self._ends = self._ledger(connect("deciding"))
        self._beats = self._ledger(connect("deciding"))
        self._registration = rq_registration.Registration(
            self._queues,
            self.name,
            connect("rq"),
            options.ttl_seconds,
            {"slots": options.slots, "kuber_cron_version": __version__},
        )
        self._draining = threading.Event()
        self._reported = threading.Event()
        self._done = threading.Event()
        self._slots = Slots(options.slots)
        teller = WorkerNotifications(messenger, self._ends, worker=self.name)
        self._reporter = ResultReporter(
            self._ends,
            worker=self.name,
            slots=self._slots,
            clock=clock,
            metrics=metrics,
            measures=measures,
            rng=rng or random.Random(),  # noqa: S311 - spreads retries, keeps no secret
            may_give_up=self._has_no_commands_left,
            teller=teller,
        )
        self._supervisor = Supervisor(
            on_started=self._on_started, on_ended=self._on_ended, sinks=sinks, clock=clock
        )
        self._trimmer = Trimmer(
            options.retention, options.log_dir, clock=clock, metrics=metrics, in_use=self._files_in_use
        )
        self._follower = LiveOutput(
            connect("general"),
            options.keys,
            running=self._supervisor.running,
            is_held=self._slots.__contains__,
            clock=clock,
        )
        self._claimer = Claimer(
            self._ledger(connect("deciding")),
            waiting=connect("claiming"),
            turns=turns,
            slots=self._slots,
            conditions=Conditions(
                log_dir=options.log_dir,
                environ=options.environ,
                keys_for_signatures=options.keys_for_signatures,
                user_required=options.user_required,
                redact=options.redact,
            ),
            clock=clock,
            metrics=metrics,
            measures=measures,
            is_suspended=self._registration.is_suspended,
            is_cut_off=self._is_cut_off,
            start=self._supervisor.start,
            started=teller.started,
            ended=self._reporter.tell,
        )
        self._pulse = Heartbeat(
            self._beats,
            self._slots,
            clock=clock,
            ttl_seconds=options.ttl_seconds,
            stop=self._supervisor.stop,
            tell_rq=self._tell_rq,
            metrics=metrics,
        )
        self._clearer = LeftoverCleanup(
            self._beats, clock=clock, ttl_seconds=options.ttl_seconds, metrics=metrics
        )
        self._ear = CommandListener(connect("general"), self._registration.channel, self._obey)
        self._threads: dict[str, threading.Thread] = {}
        metrics.busy_from(lambda: len(self._slots))
        measures.expect_starts_from(self._queues)

    def _ledger(self, client: "Redis") -> RunStore:
        return RunStore(
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
            "reporter": self._reporter.run,
            "pulse": partial(self._pulse.run, self._reported),
            "guard": partial(self._pulse.guard, self._done),
            "claimer": partial(self._claimer.run, self._draining),
            "ear": partial(self._ear.run, self._done),
            "follower": partial(self._follower.run, self._done),
        }
        self._trimmer.start()
        threading.Thread(
            target=self._clearer.run, args=(self._draining,), name="worker-clearer", daemon=True
        ).start()
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=f"worker-{name}", daemon=True)
            self._threads[name] = thread
            thread.start()

    def drain(self, grace_seconds: float) -> None:
        """Nothing new is started; commands may finish within the grace, then they are ended and requeued."""
        if self._draining.is_set():
            return
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
        if not self._done.wait(timeout_seconds):
            return False
        for name in ("pulse", "guard", "ear", "follower"):
            self._threads[name].join(_JOIN_SECONDS)
        return True

    def running(self) -> list[RunningCommand]:
        """The commands that run now."""
        return self._supervisor.running()

    def recent(self) -> list[FinishedAttempt]:
        """The attempts that ended last, newest first."""
        return self._reporter.recent()

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is started any more."""
        return self._draining.is_set()

    def checks(self) -> dict[str, Callable[[], str]]:
        """The health checks by name: ``ok``, or a sentence."""
        return {"redis": self._check_redis, "worker": self._check_worker, "loop": self._check_loop}

    # --- between the threads ---------------------------------------------------------------------

    def _on_started(self, launch: Launch, pid: int) -> None:
        """In the supervisor's loop: quick, or every command waits."""
        held = self._slots.get(launch.execution_id)
        say = log.debug if held is not None and held.is_quiet else log.info
        say("run started", job=launch.job, run=launch.run_id, attempt=launch.attempt, pid=pid)

    def _on_ended(self, ended: AttemptResult) -> None:
        """As above."""
        self._trimmer.ended(ended.captured)
        self._reporter.tell(ended)

    def _files_in_use(self) -> set[Path]:
        paths = (one.launch.log_path for one in self._supervisor.running())
        return {path for path in paths if path is not None}

    def _is_cut_off(self) -> bool:
        return self._pulse.is_cut_off()

    def _has_no_commands_left(self) -> bool:
        return self._draining.is_set() and not self._threads["supervisor"].is_alive()

    def _tell_rq(self) -> None:
        totals = self._reporter.totals
        self._registration.beat(
            busy=bool(len(self._slots)),
            succeeded=totals.succeeded,
            failed=totals.failed,
            working_seconds=totals.working_seconds,
            draining=self._draining.is_set(),
        )

    def _obey(self, asked: rq_registration.WorkerCommand) -> None:
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
        self._reporter.finish()
        self._threads["reporter"].join()
        self._reported.set()
        self._threads["pulse"].join(_JOIN_SECONDS)  # a heartbeat after the farewell would announce us again
        try:
            self._ends.retire()
            self._registration.leave()
        except RedisError as error:
            log.warning("left without a word: redis does not answer", error=str(error))
        self._trimmer.finish(_JOIN_SECONDS)
        log.info("worker ended", worker=self.name)
        self._done.set()

    # --- health ----------------------------------------------------------------------------------

    def _check_redis(self) -> str:
        silent = self._pulse.silent_seconds()
        return "ok" if silent < self._options.ttl_seconds else f"redis has not answered for {silent:.0f} s"

    def _check_loop(self) -> str:
        """A loop that has ended by an error is a bug: better restarted than half alive."""
        dead = [name for name, thread in self._threads.items() if not thread.is_alive()]
        return f"the {dead[0]} has ended" if dead and not self._draining.is_set() else "ok"

    def _check_worker(self) -> str:
        if self._draining.is_set():
            return "draining"
        if self._claimer.has_newer_payload:
            return "runs of a newer version wait: update this worker"
        return "ok"
