"""The timing of leader election: the durations that are set, and those that follow from them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """The durations of leader election, and those that follow from them (reliability.md §3). Seconds.

    Attributes:
        lease: How long others wait for a leader that fell silent.
        renew: How long a leader goes on without a renewal.
        retry: The pause between two attempts.
        failsafe: How long a leader goes on while the lease's store is away and Redis answers.
    """

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0
    failsafe: float = 3600.0

    @property
    def margin(self) -> float:
        """The least time between the end of a leader's own term and the first moment another may begin."""
        return max(1.0, self.lease / 10)

    @property
    def request(self) -> float:
        """The timeout of one request to the lease's store."""
        return min(3.0, self.renew / 3)

    @property
    def valid(self) -> float:
        """The time that a leader may act after the moment before it sent the request that renewed its lease."""
        return min(self.renew, self.lease - self.margin)

    def problems(self) -> list[str]:
        """Return every relation that does not hold, as a sentence; empty when the timing is safe."""
        found = []
        if self.renew + self.margin > self.lease:
            found.append(
                f"RENEW_SECONDS {self.renew:g} + margin {self.margin:g} must not exceed LEASE_SECONDS {self.lease:g}: "
                "a leader has to stop before another may begin"
            )
        if self.renew < self.request + 2 * self.retry:
            found.append(
                f"RENEW_SECONDS {self.renew:g} must be at least request timeout {self.request:g} + twice "
                f"RETRY_SECONDS {self.retry:g}: one lost request would end the leadership"
            )
        if self.renew <= 1.2 * self.retry:
            found.append(f"RENEW_SECONDS {self.renew:g} must exceed 1.2 times RETRY_SECONDS {self.retry:g}")
        return found
