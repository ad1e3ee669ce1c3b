"""The worker's heartbeat, and self-fencing where it is not acknowledged.

Two loops: ``run`` sends heartbeats, and ``guard`` reads the clock, so that a heartbeat which hangs holds up nothing.

A worker that is cut off ends its commands before another is given their runs (spec: reliability.md §6,
Self-fencing). The time is counted on the interval clock from the sending of the last acknowledged heartbeat. Time in
which Redis itself is away or loading does not count, because nobody can take a run over then.
"""

import threading
from collections.abc import Callable
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from kuber_cron.worker.coordination.run_store import HeartbeatReply, RunStore
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution.outcome import Cause

log = structlog.get_logger(__name__)

# The part of the ttl between the last KILL and the first moment at which another worker may start the run.
_RESERVE_SECONDS = 2.0
_RETRY_SECONDS = 1.0
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
    ) -> None:
        """``send_to_rq`` refreshes the worker's entry among RQ's workers; it may raise redis' errors."""
        self._context = context
        self._run_store = run_store
        self._clock = context.clock
        self._ttl_seconds = context.options.ttl_seconds
        self._stop = stop
        self._send_to_rq = send_to_rq
        self._acked_at = self._tried_at = context.clock.elapsed()
        self._fenced: set[str] = set()

    def silent_seconds(self) -> float:
        """Return how long ago the last acknowledged heartbeat was sent."""
        return self._clock.elapsed() - self._acked_at

    def is_cut_off(self) -> bool:
        """Return True while commands are ended for want of an acknowledged heartbeat: nothing may be started then."""
        return self.silent_seconds() >= self._ttl_seconds / 2

    def run(self, done: threading.Event) -> None:
        """Send heartbeats until ``done``."""
        while not done.is_set():
            began, seconds = self._clock.elapsed(), self._ttl_seconds / 3
            try:
                self.send()
            except RedisError as error:
                log.warning("heartbeat not acknowledged", error=str(error))
                self._context.metrics.redis_is(up=False)
                self._missed(error)
                began, seconds = self._clock.elapsed(), min(seconds, _RETRY_SECONDS)
            except Exception:
                # Without heartbeats every run here would be taken away: the loop has to go on.
                self._context.metrics.errors.inc()
                log.exception("heartbeat failed")
            # From its beginning: RQ's entry may take a while, and must not delay the next heartbeat by it.
            done.wait(max(0.0, seconds - (self._clock.elapsed() - began)))

    def guard(self, done: threading.Event) -> None:
        """End commands in time where heartbeats are not acknowledged, until ``done``."""
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
        sent_at = self._clock.elapsed()
        running = self._context.slots.all()
        replies = self._run_store.heartbeat(
            [(attempt.run_id, attempt.execution_id) for attempt in running], self._clock.now()
        )
        self._acked_at = self._tried_at = sent_at
        self._context.metrics.redis_is(up=True)
        for attempt, reply in zip(running, replies, strict=True):
            if reply is HeartbeatReply.GONE and attempt.execution_id in self._context.slots:
                log.warning("run taken away: its command is killed", run=attempt.run_id)
                self._stop(attempt.execution_id, "lost", grace_seconds=0.0)
            elif reply is HeartbeatReply.STOP:
                self._stop(attempt.execution_id, "stopped")
        self._send_to_rq()

    def _missed(self, error: RedisError) -> None:
        now = self._clock.elapsed()
        if _nobody_can_take_over(error):
            self._acked_at += now - self._tried_at
        self._tried_at = now

    def fence(self) -> None:
        """TERM for every command once half the ttl has passed in silence, KILL two seconds before its end."""
        if not self.is_cut_off():
            self._fenced.clear()
            return
        silent = self.silent_seconds()
        grace = max(0.0, self._ttl_seconds - _RESERVE_SECONDS - silent)
        for attempt in self._context.slots.all():
            if attempt.execution_id in self._fenced or attempt.payload is None:
                continue
            self._fenced.add(attempt.execution_id)
            if attempt.payload.on_lost_heartbeat == "kill":
                log.warning(
                    "cut off from Redis: the command is ended",
                    run=attempt.run_id,
                    silent_seconds=round(silent, 1),
                )
                self._stop(attempt.execution_id, "lost", grace_seconds=grace)


def _nobody_can_take_over(error: RedisError) -> bool:
    """Return True where Redis itself is away or loading, so that no leader can reap attempts meanwhile."""
    words = str(error).lower()
    return "refused" in words or "loading" in words or "no such file" in words
