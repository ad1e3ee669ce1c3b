"""The worker's slots: each is occupied by one running attempt, from its start script until its end is recorded."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from kuber_cron.common.runs.payload import Payload, PayloadError
from kuber_cron.worker.coordination.run_store import AttemptStart


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """An attempt of this worker.

    Attributes:
        run_id: The run this is an attempt of.
        execution_id: The attempt's own id.
        start: The start script's answer.
        payload: None where it cannot be read.
        problem: Why it cannot be read.
        asked_at: When the answered call of the start script was sent, by the interval clock.
    """

    run_id: str
    execution_id: str
    start: AttemptStart
    payload: Payload | None
    problem: PayloadError | None = None
    asked_at: float = float("-inf")

    @property
    def job(self) -> str:
        """The job's id; empty where the payload cannot be read."""
        return self.payload.job if self.payload else ""

    @property
    def queue(self) -> str:
        """The queue that the run was pushed to; empty where the payload cannot be read."""
        return self.payload.origin if self.payload else ""

    @property
    def is_quiet(self) -> bool:
        """True where the job asks not to be announced."""
        return self.payload is not None and self.payload.quiet


class Slots:
    """The running attempts by execution id, at most ``size`` at once; safe from several threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._running: dict[str, RunningAttempt] = {}
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._running

    def get(self, execution_id: str) -> RunningAttempt | None:
        """Return the attempt of this execution id, None once its slot is released."""
        return self._running.get(execution_id)

    def all(self) -> list[RunningAttempt]:
        """Return every running attempt, oldest first."""
        with self._changed:
            return list(self._running.values())

    def occupy(self, attempt: RunningAttempt) -> None:
        """Give the attempt a slot."""
        with self._changed:
            self._running[attempt.execution_id] = attempt

    def release(self, execution_id: str) -> None:
        """Take the slot from the attempt of this execution id, which has ended."""
        with self._changed:
            self._running.pop(execution_id, None)
            self._changed.notify_all()

    def wake(self) -> None:
        """Make those who wait ask their ``is_given_up`` again."""
        with self._changed:
            self._changed.notify_all()

    def await_free(self, is_given_up: Callable[[], bool]) -> int:
        """Return how many slots are free, once one is or ``is_given_up`` is true (asked after ``wake``)."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._running) < self.size or is_given_up())
            return self.size - len(self._running)
