"""The tiers as services: started, observed, drained, aborted, and ended together.

Each is closed by its ``with`` block whatever happens in it: no command, server or port outlives the process's
last line. The methods are those of :class:`.lifecycle.Service`.
"""

import shlex
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kuber_cron.cli.terminal.live_view import RecentRow, RunningRow, Snapshot, UpcomingRow
from kuber_cron.common.redis_store.embedded.errors import EmbeddedRedisError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
    from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
    from kuber_cron.scheduler.service import Scheduler
    from kuber_cron.worker.service import Worker

_POLL_SECONDS = 0.5  # within which the death of the embedded Redis is noticed
_SHOWN = 60  # rows that no terminal exceeds


class SchedulerService:
    """A scheduler as a service. It has no commands, so a drain and an abort are the same."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._ended = threading.Event()
        self._stopping = threading.Lock()

    def start(self) -> None:
        """Contest the lease, decide while leading."""
        self._scheduler.start()

    def drain(self) -> None:
        """Decide nothing more, hand the lease over, end."""
        threading.Thread(target=self.close, name="scheduler-stop", daemon=True).start()

    def abort(self) -> None:
        """End as by a drain: it takes a moment anyway."""
        self.drain()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return whether it has ended."""
        return self._ended.wait(timeout_seconds)

    def close(self) -> None:
        """End. Idempotent."""
        with self._stopping:
            if not self._ended.is_set():
                self._scheduler.stop()
                self._ended.set()


class WorkerService:
    """A worker as a service; `grace_seconds` is what its commands get on a drain."""

    def __init__(self, worker: "Worker", grace_seconds: float) -> None:
        self._worker = worker
        self._grace_seconds = grace_seconds
        self._is_started = False

    def start(self) -> None:
        """Register, claim, run."""
        self._worker.start()
        self._is_started = True

    def drain(self) -> None:
        """Claim nothing new, let commands finish within the grace, end."""
        self._worker.drain(self._grace_seconds)

    def abort(self) -> None:
        """Kill every command, end."""
        self._worker.abort()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return whether it has ended; also when RQ's ``shutdown`` command was what ended it."""
        return self._worker.wait(timeout_seconds)

    def close(self) -> None:
        """End, and every command of it. Idempotent."""
        if self._is_started and not self._worker.wait(0):
            self._worker.abort()
            self._worker.wait(10)


class AllInOneService:
    """A scheduler and a worker in one process, on the embedded Redis or another."""

    def __init__(
        self,
        scheduler: "Scheduler",
        worker: "Worker",
        watcher: "CatalogWatcher",
        *,
        slots: int,
        grace_seconds: float,
        redis: "EmbeddedRedis | None",
    ) -> None:
        self._scheduler_service = SchedulerService(scheduler)
        self._worker_service = WorkerService(worker, grace_seconds)
        self._scheduler, self._worker, self._watcher = scheduler, worker, watcher
        self._slots = slots
        self._redis = redis

    def start(self) -> None:
        """Start both, the worker first, so that the first decision finds a worker to carry it out."""
        self._worker_service.start()
        self._scheduler_service.start()

    def drain(self) -> None:
        """Decide and start nothing new; both end, the worker after its commands."""
        self._scheduler_service.drain()
        self._worker_service.drain()

    def abort(self) -> None:
        """Kill every command; both end."""
        self._worker_service.abort()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return whether both have ended.

        Raises:
            EmbeddedRedisError: The embedded Redis has ended before them.
        """
        if timeout_seconds is not None:
            return self._worker_service.wait(timeout_seconds) and self._scheduler_service.wait(
                timeout_seconds
            )
        while not self._worker_service.wait(_POLL_SECONDS):
            if self._redis is not None and self._redis.poll() is not None:
                raise EmbeddedRedisError(
                    f"the Redis server in {self._redis.directory} has ended by itself\n{self._redis.last_words()}",
                    hint="its data are kept: start again; its log says more",
                )
        self._scheduler_service.close()
        return True

    def close(self) -> None:
        """End both, and every command. Idempotent."""
        self._scheduler_service.close()
        self._worker_service.close()

    def snapshot(self) -> Snapshot:
        """Return the state of both for the live view; reads memory only."""
        entries = self._watcher.current.entries
        term = self._scheduler.term()
        coming = sorted(self._scheduler.upcoming().items(), key=lambda item: item[1])[:_SHOWN]
        notes = {job: "suspended" for job, entry in entries.items() if entry.job.suspend}
        is_draining = self._worker.is_draining
        return Snapshot(
            next=[
                UpcomingRow(job=job, due_at=at, note=notes.get(job, ""))
                for job, at in coming
                if not is_draining
            ],
            running=[
                RunningRow(
                    job=each.launch.job,
                    started_at=each.started_at,
                    attempt=each.launch.attempt,
                    command=command_text(each.launch.argv),
                )
                for each in self._worker.running()
            ],
            recent=[
                RecentRow(
                    job=each.job,
                    outcome=each.outcome.kind,
                    detail=_detail(each.outcome.exit_code, each.outcome.signal),
                    ended_at=each.ended_at,
                    duration_seconds=each.seconds,
                    attempt=each.attempt,
                )
                for each in self._worker.recent()[:_SHOWN]
            ],
            leader=term is not None,
            epoch=None if term is None else term.epoch,
            redis=self._worker.checks()["redis"](),
            jobs=len(entries),
            slots=self._slots,
            is_draining=is_draining,
        )


def command_text(argv: Sequence[str]) -> str:
    """Return the command as its job file has it: the text that a shell is given, or the words."""
    return argv[2] if len(argv) == 3 and argv[1] == "-c" else shlex.join(argv)


def _detail(exit_code: int | None, signal: int | None) -> str:
    if signal is not None:
        return f"signal {signal}"
    return f"exit {exit_code}" if exit_code else ""
