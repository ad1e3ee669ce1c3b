"""Terms of leadership, and the tenure of one process (spec: reliability.md §3)."""

import threading
from dataclasses import dataclass

from kuber_cron.common.clock import Clock


@dataclass(frozen=True, slots=True)
class Term:
    """One term of leadership.

    Attributes:
        epoch: Its fencing number.
        holder: Who leads: written into each entry of the decision log.
        lease: What the lease's key in Redis holds meanwhile; the scripts compare it. Empty where the lease is kept
            elsewhere.
        through: How many decisions there were when the term was won, by the record of the lease and by what
            this process has seen itself; Redis having fewer means that it has lost writes (reliability.md §8).
            0 where nobody knows.
    """

    epoch: int
    holder: str
    lease: str = ""
    through: int = 0


class Tenure:
    """The term that this process acts under, and what it has seen of other terms. Safe from any thread.

    A term is begun and extended by the election's thread and may be ended by the deciding one at any moment;
    an extension that comes after the end changes nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Replaced as one tuple, so that ``valid_term`` needs no lock: never half of each.
        self._state: tuple[Term | None, float] = (None, 0.0)
        self._mark = (0, 0)
        self._epoch = 0
        self.transitions = 0

    def valid_term(self) -> Term | None:
        """Return the term, unless its time is over."""
        term, until = self._state
        return term if term is not None and self._clock.elapsed() < until else None

    @property
    def term(self) -> Term | None:
        """The term that has not been ended, though its time may be over."""
        return self._state[0]

    @property
    def until(self) -> float:
        """The end of the term's time, on the interval clock."""
        return self._state[1]

    def begin(self, term: Term, until: float) -> None:
        """Begin a new term, which lasts until ``until`` on the interval clock."""
        with self._lock:
            self._state = (term, until)
            self.transitions += 1
        self.saw(term.epoch, term.through)

    def extend(self, term: Term, until: float) -> bool:
        """Let ``term`` go on until ``until``, be that earlier or later; return False where it does not go on.

        One whose time is over does not, because nobody may act under it again.
        """
        with self._lock:
            current, before = self._state
            if current is not term or self._clock.elapsed() >= before:
                return False
            self._state = (term, until)
            return True

    def end(self) -> Term | None:
        """End the term and return the one that there was."""
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
        """The number of decisions of the newest term when it was last seen."""
        return self._mark[1]

    def saw(self, epoch: int, through: int) -> None:
        """Note what Redis, or a lease's record, has shown.

        Within a term the count only grows; a later term may have made a new start.
        """
        with self._lock:
            self._epoch = max(self._epoch, epoch)
            self._mark = max(self._mark, (epoch, through))

    def decided(self, through: int) -> None:
        """Note the newest count, as the leader itself has made it."""
        with self._lock:
            term, _ = self._state
            self._mark = (term.epoch if term is not None else self._mark[0], through)
