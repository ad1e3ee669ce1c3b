"""Terms of leadership, and the one question that an election answers (spec: reliability.md §3).

There are two elections: a Kubernetes Lease (``elector``) and a key in Redis (``redis_lease``). Both number
their terms by the same epochs, and the rest of the scheduler knows neither.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kuber_cron.common.clock import Clock

# No voluntary hand-over this close to a minute's turn, before or after it: that is when most jobs are due.
QUIET_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Term:
    """One term of leadership.

    Attributes:
        epoch: Its fencing number.
        holder: Who leads: written into each entry of the decision log.
        lease: What the lease's key in Redis holds meanwhile; the scripts compare it. Empty with a Kubernetes
            Lease.
        through: How many decisions there were when the term was won, by the record of the Lease and by what
            this process has seen itself; Redis having fewer means that it has lost writes (reliability.md §8).
            0 where nobody knows.
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

    def decided(self, through: int) -> None:
        """Redis counts ``through`` decisions now, for the next term to know if it later has fewer.

        The newest word counts, a smaller one too: say it only after a loss has been dealt with.
        """

    def give_up(self, reason: str) -> None:
        """Stop acting at once: Redis has told us that the term is over. A new term is contested at once."""

    def start(self) -> None:
        """Contest leadership until ``stop``. Returns at once."""

    def await_quiet_moment(self) -> None:
        """Return when leadership may be handed over without a minute's turn being near; within 4 s.

        To be called before ``stop`` and while the scheduler still decides. Returns at once where this process
        does not lead, or was told that nobody waits to take over.
        """

    def stop(self) -> None:
        """Stop leading, give the lease away, tell the standbys. Returns within a few seconds."""

    def checks(self) -> Mapping[str, Callable[[], str]]:
        """The health checks: ``ok``, or a sentence.

        ``election`` (live): it turns. ``lease``: this process leads, or could. ``redis``: Redis answers it.
        """


def quiet_in(now: datetime) -> float:
    """Seconds until no minute's turn is within ``QUIET_SECONDS``; 0 where that is so now."""
    second = now.second + now.microsecond / 1e6
    if second < QUIET_SECONDS:
        return QUIET_SECONDS - second
    return 60 + QUIET_SECONDS - second if second > 60 - QUIET_SECONDS else 0.0


class Tenure:
    """The term that this process acts under, and what it has seen of other terms. Safe from any thread.

    A term is begun and extended by the election's thread and may be ended by the deciding one at any moment;
    an extension that comes after the end changes nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Replaced as one tuple, so that ``token`` needs no lock: never half of each.
        self._state: tuple[Term | None, float] = (None, 0.0)
        self._mark = (0, 0)
        self._epoch = 0
        self.transitions = 0

    def token(self) -> Term | None:
        """The term, unless its time is over."""
        term, until = self._state
        return term if term is not None and self._clock.elapsed() < until else None

    @property
    def term(self) -> Term | None:
        """The term that has not been ended, though its time may be over."""
        return self._state[0]

    @property
    def until(self) -> float:
        """When the term's time is over, on the interval clock."""
        return self._state[1]

    def begin(self, term: Term, until: float) -> None:
        """This is a new term."""
        with self._lock:
            self._state = (term, until)
            self.transitions += 1
        self.saw(term.epoch, term.through)

    def extend(self, term: Term, until: float) -> bool:
        """Whether ``term`` goes on, now until ``until``, be that earlier or later.

        One whose time is over does not: nobody may act under it again.
        """
        with self._lock:
            current, before = self._state
            if current is not term or self._clock.elapsed() >= before:
                return False
            self._state = (term, until)
            return True

    def end(self) -> Term | None:
        """There is no term any more; the one that there was."""
        with self._lock:
            term, _ = self._state
            self._state = (None, 0.0)
            return term

    # --- what has been seen ----------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The largest epoch that this process has seen: a Redis that was rolled back must not give it again."""
        return self._epoch

    @property
    def through(self) -> int:
        """How many decisions there were at the newest look of the newest term."""
        return self._mark[1]

    def saw(self, epoch: int, through: int) -> None:
        """Redis, or a Lease, said so. Within a term the count only grows; a later term may have made a new start."""
        with self._lock:
            self._epoch = max(self._epoch, epoch)
            self._mark = max(self._mark, (epoch, through))

    def decided(self, through: int) -> None:
        """The newest count, by the leader's own word."""
        with self._lock:
            term, _ = self._state
            self._mark = (term.epoch if term is not None else self._mark[0], through)
