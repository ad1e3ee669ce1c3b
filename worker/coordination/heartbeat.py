"""The pulse: a worker's heartbeats, and what it does to its commands when they are not acknowledged.

Two loops: ``run`` beats, and ``guard`` looks at the clock, so that a heartbeat which hangs holds up nothing.

A worker that is cut off ends its commands before another is given their runs (spec: reliability.md §6,
Self-fencing), counted on the interval clock from the sending of the last acknowledged heartbeat. Time in which
Redis itself is away or loading does not count: nobody can take a run over then.
"""

import threading
from collections.abc import Callable
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.slots import Slots
from kuber_cron.worker.execution.outcome import Cause
from kuber_cron.worker.metrics import WorkerMetrics

log = structlog.get_logger(__name__)

# Of the ttl, what is kept between the last KILL and the first moment another may start the run.
_RESERVE_SECONDS = 2.0
_RETRY_SECONDS = 1.0
# How often the guard looks; of the reserve, so that KILL is never late by it.
_GUARD_SECONDS = 0.25


class Stop(Protocol):
    """How a command is ended: the supervisor's ``stop``."""

    def __call__(self, execution_id: str, cause: Cause, *, grace_seconds: float | None = None) -> None:
        """TERM, the grace, KILL."""


class Heartbeat:
    """Beats every third of the ttl, each second while nothing answers."""

    def __init__(
        self,
        ledger: RunStore,
        slots: Slots,
        *,
        clock: Clock,
        ttl_seconds: float,
        stop: Stop,
        tell_rq: Callable[[], None],
        metrics: WorkerMetrics,
    ) -> None:
        """``tell_rq`` refreshes the worker's entry among RQ's workers; it may raise redis' errors."""
        self._ledger = ledger
        self._slots = slots
        self._clock = clock
        self._ttl = ttl_seconds
        self._stop = stop
        self._tell_rq = tell_rq
        self._metrics = metrics
        self._acked_at = self._tried_at = clock.elapsed()
        self._fenced: set[str] = set()

    def silent_seconds(self) -> float:
        """How long ago the last acknowledged heartbeat was sent."""
        return self._clock.elapsed() - self._acked_at

    def is_cut_off(self) -> bool:
        """Whether commands are being ended for want of an acknowledged heartbeat: nothing may be started then."""
        return self.silent_seconds() >= self._ttl / 2

    def run(self, done: threading.Event) -> None:
        """Beat until ``done``."""
        while not done.is_set():
            began, seconds = self._clock.elapsed(), self._ttl / 3
            try:
                self.beat()
            except RedisError as error:
                log.warning("heartbeat not acknowledged", error=str(error))
                self._metrics.redis_is(up=False)
                self._missed(error)
                began, seconds = self._clock.elapsed(), min(seconds, _RETRY_SECONDS)
            except Exception:
                # Without heartbeats every run here would be taken away: the loop has to go on.
                self._metrics.errors.inc()
                log.exception("a heartbeat failed")
            # From its beginning: what RQ is told may take a while, and must not delay the next heartbeat by it.
            done.wait(max(0.0, seconds - (self._clock.elapsed() - began)))

    def guard(self, done: threading.Event) -> None:
        """End commands in time where heartbeats are not acknowledged, until ``done``."""
        while not done.wait(_GUARD_SECONDS):
            try:
                self.fence()
            except Exception:
                # Without it a cut-off worker would run what others have been given.
                self._metrics.errors.inc()
                log.exception("self-fencing failed")

    def beat(self) -> None:
        """One heartbeat; what it says of each attempt is obeyed.

        Raises:
            redis.RedisError: It was not acknowledged.
        """
        sent = self._clock.elapsed()
        held = self._slots.all()
        answers = self._ledger.beat([(one.run, one.execution) for one in held], self._clock.now())
        self._acked_at = self._tried_at = sent
        self._metrics.redis_is(up=True)
        for one, answer in zip(held, answers, strict=True):
            if answer == "GONE" and one.execution in self._slots:
                log.warning("the run is not ours any more: its command is killed", run=one.run)
                self._stop(one.execution, "lost", grace_seconds=0.0)
            elif answer == "STOP":
                self._stop(one.execution, "stopped")
        self._tell_rq()

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
        grace = max(0.0, self._ttl - _RESERVE_SECONDS - silent)
        for one in self._slots.all():
            if one.execution in self._fenced or one.payload is None:
                continue
            self._fenced.add(one.execution)
            if one.payload.on_lost_heartbeat == "kill":
                log.warning(
                    "cut off from redis: the command is ended", run=one.run, silent_seconds=round(silent, 1)
                )
                self._stop(one.execution, "lost", grace_seconds=grace)


def _nobody_can_take_over(error: RedisError) -> bool:
    """Whether Redis itself is away or loading, so that no reaper can act meanwhile."""
    words = str(error).lower()
    return "refused" in words or "loading" in words or "no such file" in words
