"""The worker's health checks, which read what its parts know already."""

import threading
from collections.abc import Callable, Mapping

from kuber_cron.common.observability.loop_progress import LoopProgress
from kuber_cron.worker.coordination.worker_context import WorkerContext


class WorkerHealth:
    """The checks of one worker, by name: each returns ``ok``, or a sentence."""

    def __init__(
        self,
        context: WorkerContext,
        *,
        threads: Mapping[str, threading.Thread],
        is_draining: Callable[[], bool],
        silent_seconds: Callable[[], float],
        claiming: LoopProgress,
    ) -> None:
        """Ask nothing yet.

        Args:
            context: The worker.
            threads: The loops by name; none until the worker has registered.
            is_draining: True once nothing new is started.
            silent_seconds: How long ago the last acknowledged heartbeat was sent.
            claiming: The progress of the claimer.
        """
        self._context = context
        self._threads = threads
        self._is_draining = is_draining
        self._silent_seconds = silent_seconds
        self._claiming = claiming

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return the checks."""
        return {"redis": self._redis, "worker": self._worker, "loop": self._loop}

    def failing_seconds(self) -> float:
        """Return for how long every call of Redis has failed, of the heartbeat or of the claimer."""
        return max(self._silent_seconds(), self._claiming.failing_seconds())

    def _redis(self) -> str:
        silent, ttl = self._silent_seconds(), self._context.options.ttl_seconds
        return "ok" if silent < ttl else f"redis has not answered for {silent:.0f} s"

    def _loop(self) -> str:
        """A loop that an error has ended is a bug: the worker is better restarted than half alive."""
        dead = [name for name, thread in self._threads.items() if not thread.is_alive()]
        return f"the {dead[0]} loop has ended" if dead and not self._is_draining() else self._claiming.check()

    def _worker(self) -> str:
        if self._is_draining():
            return "draining"
        if not self._threads:
            return "not registered yet"
        return self._context.pause.sentence or "ok"
