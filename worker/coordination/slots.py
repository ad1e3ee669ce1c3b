"""Held attempts: those of ours between their start script and their recorded end. Each takes a slot."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from kuber_cron.common.runs.payload import Payload, PayloadError
from kuber_cron.worker.coordination.run_store import Started


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """One attempt of ours. ``payload`` is None where the run could not be read, and ``problem`` says why."""

    run: str
    execution: str
    started: Started
    payload: Payload | None
    problem: PayloadError | None = None

    @property
    def job(self) -> str:
        """The job's id, or the empty string where nobody knows."""
        return self.payload.job if self.payload else ""

    @property
    def is_quiet(self) -> bool:
        """Whether the job asked not to be announced."""
        return self.payload is not None and self.payload.quiet


class Slots:
    """The held attempts by execution id, at most ``size`` at once; safe from several threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: dict[str, RunningAttempt] = {}
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, execution: object) -> bool:
        return execution in self._held

    def get(self, execution: str) -> RunningAttempt | None:
        """The attempt of this execution id, None when it is not ours any more."""
        return self._held.get(execution)

    def all(self) -> list[RunningAttempt]:
        """Every held attempt now, oldest first."""
        with self._changed:
            return list(self._held.values())

    def put(self, held: RunningAttempt) -> None:
        """The attempt takes a slot."""
        with self._changed:
            self._held[held.execution] = held

    def free(self, execution: str) -> None:
        """The attempt's slot is free."""
        with self._changed:
            self._held.pop(execution, None)
            self._changed.notify_all()

    def wake(self) -> None:
        """Whoever waits looks again."""
        with self._changed:
            self._changed.notify_all()

    def await_free(self, given_up: Callable[[], bool]) -> int:
        """How many slots are free, as soon as one is or ``given_up`` says so (after ``wake``)."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._held) < self.size or given_up())
            return self.size - len(self._held)
