"""Clearing: what an earlier worker on this machine left running is ended, once its runs have been found lost.

A worker that was killed leaves its commands to themselves; the leader finds their runs lost within the ttl, and another
worker, perhaps on another machine, is given them. So a worker that starts here looks for processes that carry the
execution of a lost attempt, at once and until every such loss must have been found.

What it does *not* touch: processes of attempts that ended by themselves, and those of other instances, whose executions
this Redis does not know.
"""

import threading

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.execution import leftover_processes
from kuber_cron.worker.metrics import WorkerMetrics

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 2.0
# After the ttl the leader finds a lost worker's runs; where Redis was away it rests for another before it looks.
_TTLS = 3


class LeftoverCleanup:
    """Looks for a while after the start, in a thread of its own."""

    def __init__(self, ledger: RunStore, *, clock: Clock, ttl_seconds: float, metrics: WorkerMetrics) -> None:
        self._ledger = ledger
        self._clock = clock
        self._seconds = _TTLS * ttl_seconds
        self._metrics = metrics

    def run(self, done: threading.Event) -> None:
        """Look until nobody can be found any more, or ``done``."""
        until = self._clock.elapsed() + self._seconds
        while True:
            try:
                self.look()
            except RedisError as error:
                log.warning("what an earlier worker left cannot be told yet", error=str(error))
            except Exception:
                self._metrics.errors.inc()
                log.exception("looking for what an earlier worker left failed")
            if self._clock.elapsed() >= until or done.wait(_PAUSE_SECONDS):
                return

    def look(self) -> None:
        """No process of an attempt that is known to be lost runs here any more.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        carried = leftover_processes.carried()
        lost: set[str] = set()
        for run in {run for run, _ in carried}:
            lost.update(self._ledger.executions(run, lost=True))
        if killed := leftover_processes.sweep(lost.intersection(execution for _, execution in carried)):
            log.warning("processes that an earlier worker left were killed", processes=killed)
