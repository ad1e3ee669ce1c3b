"""The worker's heartbeat, and self-fencing where it is not acknowledged.

Two loops: ``run`` sends heartbeats, and ``guard`` reads the clock, so that a heartbeat which hangs holds up nothing. What the
silence means is decided in ``self_fencing``; whether a refusal holds for everybody is seen by ``primary_witness``.
"""

import threading
from collections.abc import Callable
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from kuber_cron.worker.coordination.primary_witness import PrimaryWitness, takes_no_writes
from kuber_cron.worker.coordination.run_store import HeartbeatReply, RunStore
from kuber_cron.worker.coordination.self_fencing import GAP_SECONDS, Silence
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution.outcome import Cause

log = structlog.get_logger(__name__)

# Retries come each second, and oftener where the ttl is short: while a primary refuses everybody, the silence grows from one answer to the next.
_RETRY_SECONDS = 1.0
_RETRY_PART = 1 / 12
# The guard's interval; part of the reserve, so that KILL is never late by it.
_GUARD_SECONDS = 0.25


class Stop(Protocol):
    """The supervisor's ``stop``."""

    def __call__(self, execution_id: str, cause: Cause, *, grace_seconds: float | None = None) -> None:
        """End a command: TERM, the grace, KILL."""


class Heartbeat:
    """Sends a heartbeat every third of the ttl, each second while nothing answers."""

    def __init__(
        self,
        context: WorkerContext,
        run_store: RunStore,
        *,
        stop: Stop,
        send_to_rq: Callable[[], None],
        witness: PrimaryWitness | None = None,
    ) -> None:
        """``send_to_rq`` refreshes the worker's entry among RQ's workers; it may raise redis' errors.

        Without a ``witness`` no refusal is taken to hold for everybody.
        """
        self._context = context
        self._run_store = run_store
        self._clock = context.clock
        self._ttl_seconds = context.options.ttl_seconds
        self._stop = stop
        self._send_to_rq = send_to_rq
        self._witness = witness
        self._lock = threading.Lock()
        self._silence = Silence(context.clock.elapsed())
        self._guarded_at = context.clock.elapsed()
        self._send_now = threading.Event()
        self._fenced: set[str] = set()
        self._is_doubtful = False  # the last heartbeat was not acknowledged
        self._count = 1  # that of the registration
        self._owned_at: dict[str, float] = {}  # when the last heartbeat was sent that says so
        self._forgotten: set[str] = set()

    def silent_seconds(self) -> float:
        """Return how long ago the last acknowledged heartbeat was sent."""
        return self._silence.seconds(self._clock.elapsed())

    def is_cut_off(self) -> bool:
        """Return True while commands are ended for want of an acknowledged heartbeat: nothing may be started then."""
        return self._silence.is_cut_off(self._clock.elapsed(), self._ttl_seconds)

    def hindrance(self, execution_id: str) -> str:
        """Return why this attempt's command may not be started now, empty where it may.

        A heartbeat that was acknowledged says nothing of an attempt that it did not name: the worker may have slept between
        the start script's answer and the heartbeat.
        """
        if self.is_cut_off():
            return "cut off from Redis: another worker may own the run"
        attempt = self._context.slots.get(execution_id)
        if attempt is None:
            return "its slot was released"
        known_at = max(attempt.asked_at, self._owned_at.get(execution_id, attempt.asked_at))
        if self._clock.elapsed() - known_at >= self._ttl_seconds / 2:
            return "its start was too long ago: another worker may own the run"
        return ""

    def started(self, count: int) -> None:
        """Take note of the worker's count as a start has raised it: whatever loses the start loses the count too."""
        with self._lock:
            self._count = max(self._count, count)

    def run(self, done: threading.Event) -> None:
        """Send heartbeats until ``done``; ``wake`` makes it noticed at once."""
        while not done.is_set():
            began, seconds = self._clock.elapsed(), self._ttl_seconds / 3
            try:
                self.send()
            except RedisError as error:
                self._context.outage.failed("heartbeat not acknowledged", error)
                self._context.metrics.redis_is(up=False)
                self._missed(error)
                began, seconds = self._clock.elapsed(), min(_RETRY_SECONDS, self._ttl_seconds * _RETRY_PART)
            except Exception:
                # Without heartbeats every run here would be taken away: the loop has to go on.
                self._context.metrics.errors.inc()
                log.exception("heartbeat failed")
            # From its beginning: RQ's entry may take a while, and must not delay the next heartbeat by it.
            self._send_now.wait(max(0.0, seconds - (self._clock.elapsed() - began)))
            self._send_now.clear()

    def wake(self) -> None:
        """Send the next heartbeat at once; for any thread. ``run`` looks at its ``done`` first."""
        self._send_now.set()

    def guard(self, done: threading.Event) -> None:
        """End commands in time where heartbeats are not acknowledged, until ``done``."""
        self._guarded_at = self._clock.elapsed()
        while not done.wait(_GUARD_SECONDS):
            try:
                self.fence()
            except Exception:
                # Without it a cut-off worker would run what others have been given.
                self._context.metrics.errors.inc()
                log.exception("self-fencing failed")

    def send(self) -> None:
        """Send one heartbeat, and end the attempts that its replies name.

        Raises:
            redis.RedisError: It was not acknowledged.
        """
        if self._is_doubtful:
            # Where answers are lost, heartbeats would arrive all the same, and keep what this worker cannot run any more.
            self._run_store.client.ping()
        sent_at, before = self._clock.elapsed(), self._count
        running = self._context.slots.all()
        count, replies = self._run_store.heartbeat(
            [(attempt.run_id, attempt.execution_id) for attempt in running], self._clock.now()
        )
        self._is_doubtful = False
        with self._lock:
            self._silence = self._silence.acknowledged(sent_at)
        self._context.metrics.redis_is(up=True)
        self._context.outage.answered()
        is_lost = count <= before
        with self._lock:
            # A start may have raised it since.
            self._count = count if is_lost else max(self._count, count)
        if is_lost:
            log.warning("redis has lost this worker's heartbeats", was=before, now=count)
            self._forgotten.update(attempt.execution_id for attempt in running)
        self._owned_at = {
            attempt.execution_id: sent_at
            for attempt, reply in zip(running, replies, strict=True)
            if reply is HeartbeatReply.OK
        }
        self._forgotten.intersection_update(attempt.execution_id for attempt in running)
        for attempt, reply in zip(running, replies, strict=True):
            self._obey(attempt, reply)
        if self._witness is not None:
            self._witness.acknowledged_by(self._run_store.client)
        self._send_to_rq()

    def _obey(self, attempt: RunningAttempt, reply: HeartbeatReply) -> None:
        if reply is HeartbeatReply.ABSENT and attempt.execution_id in self._forgotten:
            # Redis has lost the run's record with everything else: nobody can be given the run.
            return
        if (
            reply in {HeartbeatReply.GONE, HeartbeatReply.ABSENT}
            and attempt.execution_id in self._context.slots
        ):
            log.warning("run taken away: its command is killed", run=attempt.run_id)
            self._stop(attempt.execution_id, "lost", grace_seconds=0.0)
        elif reply is HeartbeatReply.STOP:
            self._stop(attempt.execution_id, "stopped")

    def _missed(self, error: RedisError) -> None:
        self._is_doubtful = True
        is_refused = (
            takes_no_writes(error) and self._witness is not None and self._witness.sees_all_writes_refused()
        )
        with self._lock:
            now = self._clock.elapsed()
            self._silence = self._silence.refused(now) if is_refused else self._silence.unanswered()

    def fence(self) -> None:
        """TERM for every command once half the ttl has passed in silence, KILL two seconds before its end.

        After a gap in which this process did not run, a heartbeat is sent first.
        """
        with self._lock:
            now = self._clock.elapsed()
            if now - self._guarded_at > GAP_SECONDS:
                self._silence = self._silence.awoken(now, self._ttl_seconds, ran_until=self._guarded_at)
                self._send_now.set()
            self._guarded_at = now
            grace = self._silence.grace_seconds(now, self._ttl_seconds)
        if grace is None:
            if not self.is_cut_off():
                self._fenced.clear()
            return
        for attempt in self._context.slots.all():
            if attempt.execution_id in self._fenced or attempt.payload is None:
                continue
            self._fenced.add(attempt.execution_id)
            if attempt.payload.on_lost_heartbeat == "kill":
                log.warning(
                    "cut off from Redis: the command is ended",
                    run=attempt.run_id,
                    silent_seconds=round(self.silent_seconds(), 1),
                )
                self._stop(attempt.execution_id, "lost", grace_seconds=grace)
