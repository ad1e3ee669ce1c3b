"""What both elections share: a thread that takes one turn after another, a tenure, and the questions about it.

A turn never decides by anything but the interval clock and what it was answered. A turn that fails with
something unforeseen is logged and followed by the next; the term meanwhile ends by itself.
"""

import secrets
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from kuber_cron.common.clock import Clock
from kuber_cron.scheduler.election.metrics import LeaseMetrics
from kuber_cron.scheduler.election.redis_clock import RedisClock
from kuber_cron.scheduler.election.term import Tenure, Term, quiet_in

log = structlog.get_logger(__name__)

# A leader without Redis for this long could decide nothing: another may reach it.
REDIS_AWAY_SECONDS = 10.0
# A stop waits so long for the turn that is under way: two requests and a look at Redis are shorter.
_LAST_TURN_SECONDS = 10.0


class Listener(Protocol):
    """What hears that a leader leaves (``fence.Releases``)."""

    def start(self) -> None:
        """Listen."""

    def stop(self) -> None:
        """Listen no more."""


def identity(environ: Mapping[str, str]) -> str:
    """Who we are, ``<pod>_<uid>_<random>``, new for each process.

    The pod's name alone would let a restarted container inherit a lease that it does not hold. The first 8
    characters of the pod's uid are there if the manifest gives ``POD_UID``.
    """
    parts = [
        environ.get("HOSTNAME") or socket.gethostname(),
        environ.get("POD_UID", "")[:8],
        secrets.token_hex(4),
    ]
    return "_".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What an election is given, whichever it is.

    Attributes:
        holder: Who we are; new for each process.
        clock: For every decision.
        server_clock: Redis' time, measured anew with each of its answers.
        metrics: Where renewals and failures are counted.
        listen: Makes what calls the function that it is given whenever a leader leaves.
        on_change: Called when a term has begun.
        hands_over_quietly: Others wait to take over, so ``await_quiet_moment`` waits for a minute's turn to be
            over.
    """

    holder: str
    clock: Clock
    server_clock: RedisClock
    metrics: LeaseMetrics
    listen: Callable[[Callable[[], None]], Listener] | None = None
    on_change: Callable[[], None] = lambda: None
    hands_over_quietly: bool = False


class Contest(ABC):
    """The half of an ``Election`` that does not depend on where the lease is kept."""

    def __init__(self, setup: Setup, *, retry_seconds: float, stalled_seconds: float) -> None:
        """Contests nothing yet.

        Args:
            setup: What is the same for both.
            retry_seconds: The pause after a turn that failed.
            stalled_seconds: Without a turn for this long only a restart helps.
        """
        self.holder = setup.holder
        self._setup = setup
        self._clock = clock = setup.clock
        self._metrics = setup.metrics
        self._retry_seconds = retry_seconds
        self._stalled_seconds = stalled_seconds
        self._tenure = Tenure(clock)
        self._stop = threading.Event()
        self._try_now = threading.Event()
        self._thread: threading.Thread | None = None
        self._listener = setup.listen(self._try_now.set) if setup.listen is not None else None
        self._turned_at = clock.elapsed()

    @abstractmethod
    def turn(self) -> float:
        """One try to get or keep the lease; the seconds until the next."""

    @abstractmethod
    def release(self) -> None:
        """The lease is given away, if it can be, and the standbys know. The term has been ended before."""

    @abstractmethod
    def redis_answered_at(self) -> float:
        """When Redis last answered this election, on the interval clock."""

    @abstractmethod
    def check_lease(self) -> str:
        """``ok`` where this process leads or could, else why not."""

    # --- Election --------------------------------------------------------------------------------

    @property
    def transitions(self) -> int:
        """Terms begun by this process."""
        return self._tenure.transitions

    def token(self) -> Term | None:
        """The term that we may act under now, or None."""
        return self._tenure.token()

    def decided(self, through: int) -> None:
        """Redis counts ``through`` decisions now."""
        self._tenure.decided(through)

    def give_up(self, reason: str) -> None:
        """Stop acting at once, and contest a new term."""
        term = self._tenure.end()
        if term is not None:
            log.warning("leadership lost", epoch=term.epoch, reason=reason)
            self._try_now.set()

    def start(self) -> None:
        """Contest the lease in a thread until ``stop``."""
        self._turned_at = self._clock.elapsed()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self._thread.start()
        if self._listener is not None:
            self._listener.start()

    def await_quiet_moment(self) -> None:
        """Return when no minute's turn is near; at once where we do not lead or nobody waits."""
        if not self._setup.hands_over_quietly or self.token() is None:
            return
        seconds = quiet_in(self._setup.server_clock.now())
        if seconds > 0:
            log.info("leading until the minute's turn is over", seconds=round(seconds, 2))
            threading.Event().wait(seconds)

    def stop(self) -> None:
        """Stop leading and give the lease away, so that the next leader need not wait for it to expire."""
        self._stop.set()
        self._try_now.set()
        if self._thread is not None:
            self._thread.join(timeout=_LAST_TURN_SECONDS)
        self._tenure.end()
        if self._thread is None or not self._thread.is_alive():
            self.release()
        else:
            log.warning("the lease is not given away, for a request hangs: it expires by itself")
        if self._listener is not None:
            self._listener.stop()

    def checks(self) -> Mapping[str, Callable[[], str]]:
        """The health checks by name."""
        return {"election": self._check_turns, "lease": self.check_lease, "redis": self._check_redis}

    # --- turns -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._try_now.clear()
            self._turned_at = self._clock.elapsed()
            try:
                seconds = self.turn()
            except Exception:
                # A broken loop would let the term end without anybody trying to renew it.
                log.exception("the election's turn failed")
                seconds = self._retry_seconds
            self._try_now.wait(seconds)

    def _begin(self, term: Term, until: float) -> None:
        self._tenure.begin(term, until)
        log.info("leading", epoch=term.epoch, holder=term.holder)
        self._setup.on_change()

    def _end_what_is_over(self) -> Term | None:
        """The term that goes on; one whose time is over has ended, for nobody may act under it again."""
        term = self._tenure.term
        if term is not None and self._clock.elapsed() >= self._tenure.until:
            self.give_up("it was not renewed in time")
            return None
        return term

    # --- health ----------------------------------------------------------------------------------

    def _check_turns(self) -> str:
        seconds = self._clock.elapsed() - self._turned_at
        return "ok" if seconds < self._stalled_seconds else f"the election has not turned for {seconds:.0f} s"

    def _check_redis(self) -> str:
        seconds = self._clock.elapsed() - self.redis_answered_at()
        return "ok" if seconds < REDIS_AWAY_SECONDS else f"redis has not answered for {seconds:.0f} s"
