"""A clock that stands still until the test moves it."""

from datetime import UTC, datetime, timedelta


class SteppedClock:
    """The wall clock shows ``at``; the interval clock moves with it."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def elapsed(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        """So many seconds pass."""
        self.at += timedelta(seconds=seconds)
