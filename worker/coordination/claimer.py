"""The claimer: moves runs from the queues into this worker's own claim list, and has each started.

Everything here may be cut off between two calls. A claimed run stays in the claim list until its start script has taken
it out; after any error, and every few seconds (the answer to a claim may be lost and the claim arrive all the same), the
list is read, and its runs are started or, when the worker leaves, returned to their queues.
"""

import threading
from collections.abc import Callable

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.observability.loop_progress import LoopProgress
from kuber_cron.common.redis_store.primary_connection import is_unanswered
from kuber_cron.worker.coordination.attempt_starter import AttemptStarter
from kuber_cron.worker.coordination.claim_probe import ClaimProbe
from kuber_cron.worker.coordination.queue_rotation import QueueRotation
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.worker_context import WorkerContext

log = structlog.get_logger(__name__)

# How long an idle claimer waits on the first queue before it asks the others.
_BLOCK_SECONDS = 0.5
_BLOCK_SECONDS_OF_SEVERAL = 0.2
_AFTER_ERROR_SECONDS = 0.5
_CUT_OFF_SECONDS = 0.25
# /livez fails when the loop has not come round for this long, or for the ttl if that is longer.
_STALLED_SECONDS = 40.0
_CHECK_SECONDS = (
    5.0  # from one reading of the claim list to the next, though nothing seems to have gone wrong
)


class Claimer:
    """Claims as long as there are free slots and the worker does not drain.

    Attributes:
        progress: Of the loop, for the health checks.
    """

    def __init__(
        self,
        context: WorkerContext,
        run_store: RunStore,
        *,
        blocking_client: "Redis",
        rotation: QueueRotation,
        starter: AttemptStarter,
        probe: ClaimProbe,
        is_suspended: Callable[[], bool],
        is_cut_off: Callable[[], bool],
    ) -> None:
        """Claims nothing yet.

        Args:
            context: The worker.
            run_store: On a connection without retries.
            blocking_client: One whose time-out is longer than the longest wait on a queue.
            rotation: The order in which the queues are asked.
            starter: Starts what is claimed.
            probe: Asked after each pause whether its reason is over.
            is_suspended: True after ``rq suspend``.
            is_cut_off: True while heartbeats have not been acknowledged for so long that commands are being ended.
        """
        self._context = context
        self._run_store = run_store
        self._blocking_client = blocking_client
        self._rotation = rotation
        several = len(rotation.queues) > 2  # a queue and its low list count as one
        self._block_seconds = _BLOCK_SECONDS_OF_SEVERAL if several else _BLOCK_SECONDS
        self._starter = starter
        self._pause = context.pause
        self._probe = probe
        self._is_suspended = is_suspended
        self._is_cut_off = is_cut_off
        self._is_doubtful = False  # the claim list may hold what we do not know of
        self._check_at = 0.0
        stalled = max(_STALLED_SECONDS, context.options.ttl_seconds + self._block_seconds)
        self.progress = LoopProgress(context.clock, "claimer", stalled)

    def run(self, draining: threading.Event) -> None:
        """Claim and start until ``draining``."""
        while not draining.is_set():
            try:
                self._claim_and_start(draining)
                self.progress.succeeded()
            except RedisError as error:
                (self.progress.failed if is_unanswered(error) else self.progress.succeeded)()
                # A claim or a start may have happened, its answer lost: the claim list has it.
                self._is_doubtful = True
                self._context.outage.failed("claiming failed: Redis unreachable", error)
                draining.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # A run that cannot be started must not end the worker.
                self._is_doubtful = True
                self._context.metrics.errors.inc()
                log.exception("claiming failed")
                draining.wait(_AFTER_ERROR_SECONDS)
        self.progress.rests()  # for as long as the commands' grace lasts

    def _claim_and_start(self, draining: threading.Event) -> None:
        self.progress.rests()
        free = self._context.slots.await_free(draining.is_set)
        self.progress.turned()
        if draining.is_set():
            return
        if self._is_cut_off():
            # Each command would be ended at once, and each start would spend one of the losses its run may have.
            draining.wait(_CUT_OFF_SECONDS)
            return
        if not self._may_claim(draining):
            return
        if self._pause.is_cautious:
            free = min(free, 1)
        for run_id in self._left_in_claim_list(free) or self._claim(free, draining):
            if draining.is_set():
                return  # what is claimed and not started returns to its queue when the worker leaves
            if self._is_cut_off() or self._pause.trouble is not None:
                self._is_doubtful = True  # it stays in the claim list meanwhile
                return
            self.progress.turned()
            self._starter.start(run_id, draining)

    def _may_claim(self, draining: threading.Event) -> bool:
        """Return True unless claiming pauses; what is claimed goes back to its queue then, for other workers."""
        trouble = self._pause.trouble
        if trouble is None:
            return True
        if self._is_time_to_check():
            self._run_store.return_claims()
            self._checked()
        if (left := self._pause.seconds_left()) > 0:
            draining.wait(min(_BLOCK_SECONDS, left))
            return False
        found = self._probe.trouble(trouble)
        if found is not None:
            seconds = self._pause.begin(found)
            log.warning(
                "claiming pauses still", reason=found.reason, why=found.sentence, seconds=round(seconds, 1)
            )
            return False
        self._pause.end()
        log.info("claiming goes on", after=trouble.reason)
        return True

    def _is_time_to_check(self) -> bool:
        return self._is_doubtful or self._context.clock.elapsed() >= self._check_at

    def _checked(self) -> None:
        self._check_at = self._context.clock.elapsed() + _CHECK_SECONDS
        self._is_doubtful = False

    def _left_in_claim_list(self, free: int) -> list[str]:
        """Return at most ``free`` runs of the claim list, oldest first, where it is time to read it."""
        if not self._is_time_to_check():
            return []
        found = self._run_store.claimed_runs()[::-1][:free]
        self._checked()
        return found

    def _claim(self, free: int, draining: threading.Event) -> list[str]:
        if self._is_suspended():
            draining.wait(_BLOCK_SECONDS)
            return []
        claimed = self._run_store.claim(self._rotation.next(), free)
        if claimed:
            return claimed
        return self._run_store.await_claim(
            self._blocking_client, self._rotation.queues[0], self._block_seconds
        )
