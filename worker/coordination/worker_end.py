"""The end of a worker after a drain: its commands, their results, its entries in Redis.

A Redis that hangs holds it up by no more than a few seconds over the grace, because whoever asked for the end (the kubelet,
say) kills soon after. What is not recorded then is left to the leader, which finds the attempts lost.
"""

import threading
from collections.abc import Callable, Mapping

import structlog
from redis.exceptions import RedisError

from kuber_cron.worker.coordination.result_reporter import ResultReporter
from kuber_cron.worker.coordination.rq_registration import RqRegistration
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.worker_context import WorkerContext

log = structlog.get_logger(__name__)

# For results and deregistering, after the grace, or after the last command where that ended later.
_RECORDING_SECONDS = 2.0
_LEAST_SECONDS = 0.5


class WorkerEnd:
    """Ends a worker's loops in their order, against one deadline."""

    def __init__(
        self,
        context: WorkerContext,
        *,
        threads: Mapping[str, threading.Thread],
        reporter: ResultReporter,
        end_heartbeat: Callable[[], None],
        done: threading.Event,
        run_store: RunStore,
        registration: RqRegistration,
        trim: Callable[[float], None],
    ) -> None:
        """Prepare.

        Args:
            context: The worker.
            threads: Its loops by name.
            reporter: Records the last results.
            end_heartbeat: Ends the heartbeats, which nothing needs once results are recorded.
            done: Set at the very end.
            run_store: Removes the worker from Redis.
            registration: Removes it from RQ's workers.
            trim: Ends the trimmer of log files within so many seconds.
        """
        self._context = context
        self._threads = threads
        self._reporter = reporter
        self._end_heartbeat = end_heartbeat
        self._done = done
        self._run_store = run_store
        self._registration = registration
        self._trim = trim
        self._deadline = 0.0

    def run(self, grace_seconds: float) -> None:
        """Wait for the commands, which are ended within the grace, and then end everything else."""
        clock = self._context.clock
        self._deadline = clock.elapsed() + grace_seconds + _RECORDING_SECONDS
        self._threads["supervisor"].join()
        self._deadline = max(self._deadline, clock.elapsed() + _RECORDING_SECONDS / 2)
        self._threads["claimer"].join(self._left() / 2)
        self._reporter.end_by(self._deadline)
        self._threads["reporter"].join(self._left())
        if running := len(self._context.slots):
            log.warning("attempt results not recorded: Redis does not answer", runs=running)
        self._end_heartbeat()
        self._threads["heartbeat"].join(self._left())  # a later one would register the worker again
        last = threading.Thread(target=self._leave_redis, name="worker-deregister", daemon=True)
        last.start()
        last.join(max(_LEAST_SECONDS, self._left()))
        if last.is_alive():
            log.warning("deregistering failed: Redis does not answer")
        self._trim(max(_LEAST_SECONDS, self._left()))
        log.info("worker ended", worker=self._context.name)
        self._done.set()

    def _left(self) -> float:
        return max(0.0, self._deadline - self._context.clock.elapsed())

    def _leave_redis(self) -> None:
        try:
            self._run_store.deregister()
            self._registration.deregister()
        except RedisError as error:
            log.warning("deregistering failed: Redis unreachable", error=str(error))
