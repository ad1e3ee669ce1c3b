"""The claim pause: why this worker claims nothing now, since when, and until when.

It pauses where claiming would do harm: what it claims cannot be started here (a shortage), or is of a newer version. Each
pause is twice as long as the one before, until a command has started. Afterwards the claimer probes first, and claims one
run at a time, so that a worker in want neither spins nor takes more than a single run from those that are well.
"""

import threading
from dataclasses import dataclass

from kuber_cron.common.clock import Clock
from kuber_cron.worker.metrics import PauseReason, WorkerMetrics

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0
_WITHOUT_LOG_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ClaimTrouble:
    """The reason of a pause, and a sentence on it for people."""

    reason: PauseReason
    sentence: str


class ClaimPause:
    """The pauses of one worker; safe from several threads."""

    def __init__(self, clock: Clock, metrics: WorkerMetrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._trouble: ClaimTrouble | None = None
        self._seconds = 0.0  # of the last pause, 0 once a command has started since
        self._began = self._until = 0.0
        self._without_log_until = -1.0

    @property
    def trouble(self) -> ClaimTrouble | None:
        """The reason why nothing is claimed, None where claiming goes on."""
        return self._trouble

    @property
    def sentence(self) -> str:
        """The trouble in words; empty where there is none."""
        trouble = self._trouble
        return trouble.sentence if trouble is not None else ""

    @property
    def is_cautious(self) -> bool:
        """True until a command has started since the last pause."""
        return self._seconds > 0.0

    def seconds_left(self) -> float:
        """Return for how long nothing is to be claimed; 0 once it is time to probe."""
        return max(0.0, self._until - self._clock.elapsed())

    def begin(self, trouble: ClaimTrouble) -> float:
        """Pause, for twice as long as the last time; return for how long. Within a pause it changes nothing."""
        with self._lock:
            now = self._clock.elapsed()
            self._trouble = trouble
            self._metrics.claims_paused(trouble.reason)
            if now < self._until:
                return self._until - now
            self._seconds = min(_LONGEST_SECONDS, max(_FIRST_SECONDS, 2 * self._seconds))
            self._began, self._until = now, now + self._seconds
            return self._seconds

    def shorten(self) -> None:
        """End the pause, a second after its begin at the earliest: a command has ended, and what it held is free."""
        with self._lock:
            if self._trouble is not None and self._trouble.reason == "resources":
                self._until = min(self._until, self._began + _FIRST_SECONDS)

    def end(self) -> None:
        """End the trouble: a probe has found none. The next pause is longer all the same, until a command has started."""
        with self._lock:
            self._trouble = None
            self._metrics.claims_paused(None)

    def started(self) -> None:
        """Forget the earlier pauses: a command has started."""
        if (
            self._seconds and self._trouble is None
        ):  # one that was under way when a pause began proves nothing
            with self._lock:
                self._seconds = 0.0

    def do_without_log(self) -> None:
        """Let commands start without a log file for a minute."""
        self._without_log_until = self._clock.elapsed() + _WITHOUT_LOG_SECONDS

    @property
    def is_log_required(self) -> bool:
        """True where a run is better given to another worker than executed without a log file."""
        return self._clock.elapsed() >= self._without_log_until
