"""What a fault run is made of: durations, numbers, commands."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.jobs import Spec, everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The durations of a run. ``lease`` and its kin are the Lease's; the election in Redis has 5 s of its own."""

    lease: float = 3.0
    renew: float = 2.0
    retry: float = 0.5
    ttl: float = 4.0
    grace: float = 4.0

    def takeover(self, election: str) -> float:
        """Within so many seconds after a leader's end another decides (invariant 6)."""
        if election == "redis":
            return 5.0 + 1.2 + 2.0
        return self.lease + 1.2 * self.retry + 2.0


FAST = Times()
REAL = Times(lease=15.0, renew=10.0, retry=2.0, ttl=15.0, grace=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run is made of.

    Attributes:
        scheduler: The command of a scheduler; the naive one is another.
        spoil: Does something to the copy of the package that the processes run, to see whether it is found out.
        kubeconfig: For ``kubernetes``: made for one scheduler's own way to the API server, by a function of its port.
    """

    election: str = "redis"
    times: Times = FAST
    schedulers: int = 3
    workers: int = 2
    slots: int = 16
    specs: Sequence[Spec] = field(default_factory=everything)
    fsync: str = "always"
    scheduler: Sequence[str] = (sys.executable, "-m", "kuber_cron", "scheduler")
    variables: Mapping[str, str] = field(default_factory=dict)
    api_port: int = 0
    kubeconfig: Callable[[Path, int], Path] | None = None
    spoil: Callable[[Path], None] = lambda _: None
