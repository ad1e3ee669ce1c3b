"""The progress of a loop: when it has last come round, and for how long every call of it has failed.

What a liveness check needs to know of a thread. It says nothing of why calls fail: that Redis is away is no fault of a loop.
"""

from kuber_cron.common.clock import Clock
from kuber_cron.common.observability.health import OK


class LoopProgress:
    """One loop's. The loop notes, the threads of the health checks read."""

    def __init__(self, clock: Clock, name: str, stalled_seconds: float) -> None:
        """``stalled_seconds``: after no turn for this long the loop stands still, and only a restart helps."""
        self._clock = clock
        self._name = name
        self._stalled_seconds = stalled_seconds
        self._turned_at: float | None = clock.elapsed()
        self._failing_since: float | None = None

    def turned(self) -> None:
        """Note that the loop has come round."""
        self._turned_at = self._clock.elapsed()

    def rests(self) -> None:
        """Note that the loop waits for what may take any time; it is not measured until it has come round."""
        self._turned_at = None

    def succeeded(self) -> None:
        """Note that a call was answered, be it with a refusal."""
        self._failing_since = None

    def failed(self) -> None:
        """Note that a call was not answered, or not by a server that could."""
        if self._failing_since is None:
            self._failing_since = self._clock.elapsed()

    def failing_seconds(self) -> float:
        """Return for how long every call has failed; 0 where the last one was answered."""
        since = self._failing_since
        return 0.0 if since is None else self._clock.elapsed() - since

    def check(self) -> str:
        """Return ``ok``, or that the loop stands still."""
        turned_at = self._turned_at
        seconds = 0.0 if turned_at is None else self._clock.elapsed() - turned_at
        return (
            OK
            if seconds < self._stalled_seconds
            else f"the {self._name} loop has not turned for {seconds:.0f} s"
        )
