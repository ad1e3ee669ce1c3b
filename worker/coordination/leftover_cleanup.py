"""Leftover cleanup: ends what an earlier worker on this machine left running, once its attempts were found lost.

A worker that was killed leaves its commands running; the leader finds their attempts lost within the ttl, and another
worker, perhaps on another machine, is given their runs. So a worker that starts here searches for processes that carry
the execution of a lost attempt, at once and until every such loss must have been found.

What it does *not* touch: processes of attempts that ended by themselves, and those of other instances, whose executions
this Redis does not have.
"""

import threading

import structlog
from redis.exceptions import RedisError

from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution import leftover_processes

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 2.0
# The leader finds a lost worker's attempts after the ttl; where Redis was away, it waits for another ttl first.
_TTLS = 3


class LeftoverCleanup:
    """Searches for a while after the worker's start, in a thread of its own."""

    def __init__(self, context: WorkerContext, run_store: RunStore) -> None:
        self._context = context
        self._run_store = run_store

    def run(self, done: threading.Event) -> None:
        """Search until no further loss can be found, or ``done``."""
        clock = self._context.clock
        until = clock.elapsed() + _TTLS * self._context.options.ttl_seconds
        while True:
            try:
                self.end_lost_attempts()
            except RedisError as error:
                self._context.outage.failed("searching for an earlier worker's processes failed", error)
            except Exception:
                self._context.metrics.errors.inc()
                log.exception("searching for an earlier worker's processes failed")
            if clock.elapsed() >= until or done.wait(_INTERVAL_SECONDS):
                return

    def end_lost_attempts(self) -> None:
        """Kill every process here of an attempt that Redis has as lost.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        found = leftover_processes.attempts()
        lost: set[str] = set()
        for run_id in {run_id for run_id, _ in found}:
            lost.update(self._run_store.ended_executions(run_id, lost=True))
        if killed := leftover_processes.end(lost.intersection(execution_id for _, execution_id in found)):
            log.warning("processes of an earlier worker killed", processes=killed)
