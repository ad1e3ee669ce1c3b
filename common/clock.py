"""The clocks, read in one place and handed down, so that everything else can be tested at any instant."""

import time
from datetime import UTC, datetime
from typing import Protocol

# Counts through a suspended machine where the kernel has it (Linux); macOS' monotonic clock is the nearest.
_INTERVAL_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The clocks as loops see them."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC. For people and for instants; never for measuring an interval."""

    def elapsed(self) -> float:
        """Return the seconds since an arbitrary start; it never steps back, and counts while the machine sleeps."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """Return the seconds on CLOCK_BOOTTIME, or CLOCK_MONOTONIC where the kernel has no such clock."""
        return time.clock_gettime(_INTERVAL_CLOCK)
