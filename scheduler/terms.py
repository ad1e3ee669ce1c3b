"""Terms of leadership, and the one question that an election answers (spec: reliability.md §3).

There are two elections: a Kubernetes Lease (``elector``) and a key in Redis (``redis_lease``). Both number
their terms by the same epochs, and the rest of the scheduler knows neither.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Term:
    """One term of leadership.

    Attributes:
        epoch: Its fencing number.
        holder: Who leads: written into each entry of the decision log.
        lease: What the lease's key in Redis holds meanwhile; the scripts compare it. Empty with a Kubernetes
            Lease.
        through: How many decisions the record of the lease said there were when the term was won; Redis
            having fewer means that it has lost writes (reliability.md §8). 0 where nobody wrote it down.
    """

    epoch: int
    holder: str
    lease: str = ""
    through: int = 0


class Election(Protocol):
    """Holds leadership while it can."""

    @property
    def transitions(self) -> int:
        """Terms begun by this process."""

    def token(self) -> Term | None:
        """The term that we may act under now, or None. Ask right before each side effect; never keep it."""

    def give_up(self, reason: str) -> None:
        """Stop acting at once: Redis has told us that the term is over."""

    def start(self) -> None:
        """Contest leadership until ``stop``. Returns at once."""

    def stop(self) -> None:
        """Stop leading, give the lease away, tell the standbys. Returns within a few seconds."""

    def checks(self) -> Mapping[str, Callable[[], str]]:
        """The health checks ``lease`` and ``redis``: ``ok``, or a sentence."""
