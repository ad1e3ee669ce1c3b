"""The clocks, read in one place and handed down, so that everything else can be tested at any instant."""

import time
from datetime import UTC, datetime
from typing import Protocol

# Counts through a suspended machine where the kernel has it (Linux); macOS' monotonic clock is the nearest.
_INTERVAL_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What a loop may ask of time."""

    def now(self) -> datetime:
        """The wall clock, aware UTC. For people and for instants; never for measuring an interval."""

    def elapsed(self) -> float:
        """Seconds since an arbitrary start; never steps back, and counts while the machine sleeps."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The wall clock, aware UTC."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """Seconds on CLOCK_BOOTTIME, or CLOCK_MONOTONIC where the kernel has no such clock."""
        return time.clock_gettime(_INTERVAL_CLOCK)
