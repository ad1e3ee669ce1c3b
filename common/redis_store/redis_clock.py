"""Redis' time, kept between measurements by the interval clock (spec: reliability.md §2, *now*).

A wall clock that somebody sets does not move it: the offset is to CLOCK_BOOTTIME and is measured anew with
each renewal of the lease, in a worker with each heartbeat. A measurement that took long says little, so it counts only if nothing better is
known or the better one has grown old.

Redis answered somewhere between the sending and the receiving of a call; we take it that it answered at the end.
So this clock is behind Redis' by at most the call's duration and never ahead, and no run starts before its instant:
a job of midnight that asks for the date would get yesterday's.
"""

import threading
from datetime import UTC, datetime

from kuber_cron.common.clock import Clock

# Drift of an ordinary crystal, generously: 100 ppm. A measurement ages by this much a second.
_DRIFT = 1e-4


class RedisClock:
    """Redis' time without a call of Redis."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Until the first measurement the own wall clock has to do; it counts as a second wrong.
        self._offset = clock.now().timestamp() - clock.elapsed()
        self._error = 1.0
        self._measured_at = clock.elapsed()

    def measured(self, sent: float, received: float, server_seconds: float) -> None:
        """Take in one measurement: interval-clock readings around the call, and the time in its answer."""
        with self._lock:
            error = received - sent
            aged = self._error + (received - self._measured_at) * _DRIFT
            offset = server_seconds - received
            # A jump of the server's own clock shows as a difference that no error explains: believe it.
            has_jumped = not self._offset - error <= offset <= self._offset + aged
            if error <= aged or has_jumped:
                self._offset, self._error, self._measured_at = offset, error, received

    def now(self) -> datetime:
        """Return Redis' time, aware UTC."""
        return datetime.fromtimestamp(self._clock.elapsed() + self._offset, UTC)

    def elapsed(self) -> float:
        """Return the interval clock's reading, for deadlines."""
        return self._clock.elapsed()

    def skew_seconds(self) -> float:
        """Return how far the own wall clock is ahead of Redis'."""
        return (self._clock.now() - self.now()).total_seconds()
