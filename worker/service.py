"""The worker as a service: claims runs, executes their commands, keeps them alive in Redis, records their results.

Nine threads, one for each thing to wait for: the supervisor's loop (processes), the claimer (queues), the reporter
(results to be recorded), the heartbeat and its guard (the clock), the command listener (RQ's commands), the live output
(what commands write), the trimmer (old log files), and the cleanup after an earlier worker, which ends soon. They meet
in ``Slots``: an attempt occupies a slot from its start script until its end is recorded.

Results wait in memory while Redis is away and are recorded when it is back. What this does *not* guarantee: that a run is
not repeated by another worker after this one has been cut off for longer than its ttl; then the command here is killed
first, unless the job says ``on_lost_heartbeat: continue``.

One module, because it is the place where all threads meet.
"""

import random
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog
from redis import Redis

from kuber_cron import __version__
from kuber_cron.common.clock import Clock
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.common.redis_store.errors import translated
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.worker.coordination.attempt_starter import AttemptStarter
from kuber_cron.worker.coordination.claim_pause import ClaimPause
from kuber_cron.worker.coordination.claim_probe import ClaimProbe
from kuber_cron.worker.coordination.claimer import Claimer
from kuber_cron.worker.coordination.command_listener import CommandListener
from kuber_cron.worker.coordination.heartbeat import Heartbeat
from kuber_cron.worker.coordination.leftover_cleanup import LeftoverCleanup
from kuber_cron.worker.coordination.live_output import LiveOutput
from kuber_cron.worker.coordination.notifications import WorkerNotifications
from kuber_cron.worker.coordination.primary_witness import PrimaryWitness
from kuber_cron.worker.coordination.queue_rotation import QueueRotation
from kuber_cron.worker.coordination.result_reporter import FinishedAttempt, ResultReporter
from kuber_cron.worker.coordination.rq_codec import WorkerCommand
from kuber_cron.worker.coordination.rq_registration import RqRegistration
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.slots import Slots
from kuber_cron.worker.coordination.worker_context import WorkerContext, WorkerOptions
from kuber_cron.worker.coordination.worker_end import WorkerEnd
from kuber_cron.worker.execution.launch import AttemptResult, Launch, RunningCommand
from kuber_cron.worker.execution.supervisor import Supervisor, no_sinks
from kuber_cron.worker.health import WorkerHealth
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.output.capture import Sink
from kuber_cron.worker.output.log_retention import Trimmer

log = structlog.get_logger(__name__)

# Threads that only listen or send heartbeats are given this long, together, to notice that the worker has ended.
_JOIN_SECONDS = 1.0


class Worker:
    """One worker process. ``start`` returns at once; ``drain`` ends it, ``wait`` waits for that.

    Attributes:
        name: The worker's name in Redis and in RQ.
        failing_seconds: Returns for how long every call of Redis has failed, of the heartbeat or of the claimer.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        connect: Callable[[str], "Redis"],
        clock: Clock,
        metrics: WorkerMetrics,
        job_metrics: JobMetrics,
        sinks: Callable[[Launch], Sequence[Sink]] = no_sinks,
        rng: random.Random | None = None,
        sender: NotificationSender | None = None,
    ) -> None:
        """Put the worker together; nothing is started yet.

        ``connect`` opens a client for a purpose: ``claiming``, ``deciding``, ``general`` or ``rq`` (spec:
        reliability.md §4, §6). ``sinks`` returns where an attempt's output goes beside its log file. Without a
        ``sender`` nothing is notified.
        """
        # Whatever is written in Redis is by Redis' time, for schedulers and other workers compare it.
        self._server_clock = server_clock = RedisClock(clock)
        self.name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._context = context = WorkerContext(
            name=self.name,
            options=options,
            slots=Slots(options.slots),
            clock=server_clock,
            metrics=metrics,
            job_metrics=job_metrics,
            pause=ClaimPause(clock, metrics),
            outage=OutageLog(clock),
        )
        self._draining = threading.Event()
        self._reported = threading.Event()
        self._done = threading.Event()
        self._grace_seconds = 0.0
        self._threads: dict[str, threading.Thread] = {}
        rotation = QueueRotation(options.queues)
        self._queues = rotation.queues
        self._results_store = self._run_store(connect("deciding"))
        self._heartbeat_store = self._run_store(connect("deciding"))
        self._registration = RqRegistration(
            self._queues,
            self.name,
            connect("rq"),
            options.ttl_seconds,
            {"slots": options.slots, "kuber_cron_version": __version__},
        )
        self._notifications = WorkerNotifications(sender, self._results_store, worker=self.name)
        self._reporter = ResultReporter(
            context,
            self._results_store,
            notifications=self._notifications,
            rng=rng or random.Random(),  # noqa: S311 - spreads retries, keeps no secret
            may_give_up=self._has_no_commands_left,
        )
        self._supervisor = Supervisor(
            on_started=self._on_started,
            on_ended=self._on_ended,
            sinks=sinks,
            hindrance=lambda execution: self._heartbeat.hindrance(execution),  # noqa: PLW0108 - it is made below
            clock=server_clock,
        )
        self._trimmer = Trimmer(
            options.retention, options.log_dir, clock=clock, metrics=metrics, in_use=self._files_in_use
        )
        self._live_output = LiveOutput(
            connect("general"),
            options.keys,
            running=self._supervisor.running,
            is_running=context.slots.__contains__,
            clock=clock,
        )
        self._heartbeat = Heartbeat(
            context,
            self._heartbeat_store,
            stop=self._supervisor.stop,
            send_to_rq=self._send_to_rq,
            witness=PrimaryWitness(connect("deciding"), self._heartbeat_store.probe),
        )
        claims_store = self._run_store(connect("deciding"))
        starter = AttemptStarter(
            context,
            claims_store,
            queues=self._queues,
            supervisor=self._supervisor,
            reporter=self._reporter,
            note_count=self._heartbeat.started,
        )
        self._claimer = Claimer(
            context,
            claims_store,
            blocking_client=connect("claiming"),
            rotation=rotation,
            starter=starter,
            probe=ClaimProbe(context, claims_store, self._queues),
            is_suspended=self._registration.is_suspended,
            is_cut_off=self._heartbeat.is_cut_off,
        )
        self._worker_end = WorkerEnd(
            context,
            threads=self._threads,
            reporter=self._reporter,
            end_heartbeat=self._end_heartbeat,
            done=self._done,
            run_store=self._results_store,
            registration=self._registration,
            trim=self._trimmer.finish,
        )
        self._health = WorkerHealth(
            context,
            threads=self._threads,
            is_draining=self._draining.is_set,
            silent_seconds=self._heartbeat.silent_seconds,
            claiming=self._claimer.progress,
        )
        self.failing_seconds = self._health.failing_seconds
        self._cleanup = LeftoverCleanup(context, self._heartbeat_store)
        self._listener = CommandListener(
            connect("general"), self._registration.channel, self._on_command, context.outage
        )
        metrics.busy_from(lambda: len(context.slots))
        job_metrics.expect_starts_from(self._queues)

    def _run_store(self, client: "Redis") -> RunStore:
        options = self._context.options
        return RunStore(Store(client, options.keys), worker=self.name, ttl_seconds=options.ttl_seconds)

    def start(self) -> None:
        """Register with RQ, and claim from now on.

        Raises:
            RedisUnreachableError, RedisRefusedError: Redis did not answer, or refused; nothing has been started.
        """
        options = self._context.options
        with translated(self._heartbeat_store.client):
            self._heartbeat_store.measure_time(self._server_clock)
            self._registration.register(self._server_clock.now())
            self._heartbeat_store.register(self._context.clock.now())
        log.info("worker started", worker=self.name, queues=self._queues, slots=options.slots)
        loops: dict[str, Callable[[], None]] = {
            "supervisor": self._supervisor.run,
            "reporter": self._reporter.run,
            "heartbeat": partial(self._heartbeat.run, self._reported),
            "guard": partial(self._heartbeat.guard, self._done),
            "claimer": partial(self._claimer.run, self._draining),
            "listener": partial(self._listener.run, self._done),
            "live-output": partial(self._live_output.run, self._done),
        }
        self._trimmer.start()
        threading.Thread(
            target=self._cleanup.run, args=(self._draining,), name="worker-cleanup", daemon=True
        ).start()
        # Made now: at the end there may be no room for one more thread.
        threading.Thread(target=self._end_once_drained, name="worker-end", daemon=True).start()
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=f"worker-{name}", daemon=True)
            self._threads[name] = thread
            thread.start()

    def drain(self, grace_seconds: float) -> None:
        """Start nothing new; commands may finish within the grace, then they are ended and requeued."""
        if self._draining.is_set():
            return
        self._grace_seconds = grace_seconds
        self._draining.set()
        slots = self._context.slots
        slots.wake()
        log.info("worker drains", worker=self.name, running=len(slots), grace_seconds=grace_seconds)
        self._supervisor.drain(grace_seconds)

    def _end_once_drained(self) -> None:
        self._draining.wait()
        self._worker_end.run(self._grace_seconds)

    def abort(self) -> None:
        """Kill every command now, requeue what ran, and end the worker."""
        self.drain(0.0)
        self._supervisor.kill_all()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return True once the worker has ended, False if it has not within the time."""
        if not self._done.wait(timeout_seconds):
            return False
        until = self._context.clock.elapsed() + _JOIN_SECONDS
        for name in ("heartbeat", "guard", "listener", "live-output"):
            self._threads[name].join(max(0.0, until - self._context.clock.elapsed()))
        return True

    def running(self) -> list[RunningCommand]:
        """Return the commands that run now."""
        return self._supervisor.running()

    def recent(self) -> list[FinishedAttempt]:
        """Return the attempts that ended last, newest first."""
        return self._reporter.recent()

    @property
    def is_draining(self) -> bool:
        """True once nothing new is started."""
        return self._draining.is_set()

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return the health checks by name: each returns ``ok``, or a sentence."""
        return self._health.checks()

    # --- between the threads ---------------------------------------------------------------------

    def _on_started(self, launch: Launch, pid: int) -> None:
        """Runs in the supervisor's loop: quick, or every command waits."""
        self._context.pause.started()
        attempt = self._context.slots.get(launch.execution_id)
        log_line = log.debug if attempt is not None and attempt.is_quiet else log.info
        if attempt is not None:
            self._context.job_metrics.attempt_started(launch.job, recovered=attempt.start.recovered)
            self._notifications.started(attempt)
        log_line("run started", job=launch.job, run=launch.run_id, attempt=launch.attempt, pid=pid)

    def _on_ended(self, result: AttemptResult) -> None:
        """As above."""
        if result.pid is not None:
            self._context.pause.shorten()
        self._trimmer.ended(result.captured)
        self._reporter.report(result)

    def _files_in_use(self) -> set[Path]:
        return {each.launch.log_path for each in self._supervisor.running() if each.launch.log_path}

    def _has_no_commands_left(self) -> bool:
        return self._draining.is_set() and not self._threads["supervisor"].is_alive()

    def _send_to_rq(self) -> None:
        self._heartbeat_store.measure_time(self._server_clock)
        totals = self._reporter.totals
        self._registration.send_heartbeat(
            self._server_clock.now(),
            busy=bool(len(self._context.slots)),
            succeeded=totals.succeeded,
            failed=totals.failed,
            working_seconds=totals.working_seconds,
            draining=self._draining.is_set(),
            problem=self._context.pause.sentence,
        )

    def _on_command(self, command: WorkerCommand) -> None:
        if command.name == "shutdown":
            self.drain(self._context.options.ttl_seconds)
            return
        for attempt in self._context.slots.all():
            is_named = command.execution_id == attempt.execution_id or command.run_id == attempt.run_id
            if command.name == "kill-horse" or is_named:
                self._supervisor.stop(attempt.execution_id, "stopped")

    def _end_heartbeat(self) -> None:
        self._reported.set()
        self._heartbeat.wake()
