"""Elections: who leads, asked through one class whatever keeps the lease (spec: reliability.md §3).

``LeaseElection`` contests the record of any ``LeaseStore``, ``RedisElection`` a key in Redis. Both number their terms
by the same epochs, and the rest of the scheduler knows neither.

An election is a thread that makes one attempt after another, and a tenure. An attempt decides by nothing but the
interval clock and what it was answered. One that fails with something unforeseen is logged and followed by the next;
the term meanwhile ends by itself.
"""

import secrets
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from kuber_cron.common.clock import Clock
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.scheduler.election.metrics import LeaseMetrics
from kuber_cron.scheduler.election.term import Tenure, Term

log = structlog.get_logger(__name__)

# A leader without Redis for this long could decide nothing: another may reach it.
REDIS_AWAY_SECONDS = 10.0
# A stop waits so long for the attempt that is under way: two requests and one call of Redis are shorter.
_LAST_ATTEMPT_SECONDS = 10.0
# No voluntary hand-over this close to a minute's start, before or after it: that is when most jobs are due.
QUIET_SECONDS = 2.0


class Listener(Protocol):
    """A listener for released leases (``release_listener.ReleaseListener``)."""

    def start(self) -> None:
        """Listen until ``stop``."""

    def stop(self) -> None:
        """Listen no more."""


def identity(environ: Mapping[str, str]) -> str:
    """Return our identity, ``<pod>_<uid>_<random>``, new for each process.

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
class ElectionContext:
    """The environment of an election, whichever it is.

    Attributes:
        holder: Our identity; new for each process.
        clock: For every decision.
        server_clock: Redis' time, measured anew with each of its answers.
        metrics: Where renewals and failures are counted.
        listen: Makes the listener that calls the given function whenever a leader has released the lease.
        on_change: Called when a term has begun.
        hands_over_quietly: Others wait to take over, so ``await_quiet_moment`` keeps away from a minute's start.
    """

    holder: str
    clock: Clock
    server_clock: RedisClock
    metrics: LeaseMetrics
    listen: Callable[[Callable[[], None]], Listener] | None = None
    on_change: Callable[[], None] = lambda: None
    hands_over_quietly: bool = False


class Election(ABC):
    """Holds leadership while it can. A subclass knows where the lease is kept."""

    def __init__(self, context: ElectionContext, *, retry_seconds: float, stalled_seconds: float) -> None:
        """Contests nothing yet.

        Args:
            context: What is the same for every election.
            retry_seconds: The pause after an attempt that failed.
            stalled_seconds: Without an attempt for this long only a restart helps.
        """
        self.holder = context.holder
        self._context = context
        self._clock = clock = context.clock
        self._metrics = context.metrics
        self._retry_seconds = retry_seconds
        self._stalled_seconds = stalled_seconds
        self._tenure = Tenure(clock)
        self._stop = threading.Event()
        self._try_now = threading.Event()
        self._thread: threading.Thread | None = None
        self._listener = context.listen(self._try_now.set) if context.listen is not None else None
        self._attempted_at = clock.elapsed()

    @property
    @abstractmethod
    def elected_by(self) -> str:
        """Where the lease is kept, in words for people."""

    @abstractmethod
    def attempt(self) -> float:
        """Try once to get or keep the lease; return the seconds until the next attempt."""

    @abstractmethod
    def release(self) -> None:
        """Release the lease, if that can be done, and notify the standbys. The term has been ended before."""

    @abstractmethod
    def redis_answered_at(self) -> float:
        """Return when Redis last answered this election, on the interval clock."""

    @abstractmethod
    def check_lease(self) -> str:
        """Return ``ok`` where this process leads or could, else why not."""

    # --- for the scheduler -------------------------------------------------------------------------

    @property
    def transitions(self) -> int:
        """The number of terms that this process has begun."""
        return self._tenure.transitions

    def valid_term(self) -> Term | None:
        """Return the term that we may act under now, or None. Ask right before each side effect; never keep it."""
        return self._tenure.valid_term()

    def decided(self, through: int) -> None:
        """Note that Redis counts ``through`` decisions now, for the next term to know if it later has fewer.

        The newest count holds, a smaller one too: note it only after a loss has been dealt with.
        """
        self._tenure.decided(through)

    def step_down(self, reason: str) -> None:
        """Stop acting at once, because Redis has shown that the term is over, and contest a new one."""
        term = self._tenure.end()
        if term is not None:
            log.warning("leadership lost", epoch=term.epoch, reason=reason)
            self._try_now.set()

    def start(self) -> None:
        """Contest the lease in a thread until ``stop``. Returns at once."""
        self._attempted_at = self._clock.elapsed()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self._thread.start()
        if self._listener is not None:
            self._listener.start()

    def await_quiet_moment(self) -> None:
        """Return when leadership may be handed over without a minute's start being near; within 4 s.

        To be called before ``stop`` and while the scheduler still decides. Returns at once where this process does not
        lead, or where nobody waits to take over.
        """
        if not self._context.hands_over_quietly or self.valid_term() is None:
            return
        seconds = quiet_in(self._context.server_clock.now())
        if seconds > 0:
            log.info("stopping delayed: a minute's start is near", seconds=round(seconds, 2))
            threading.Event().wait(seconds)

    def stop(self) -> None:
        """Stop leading and release the lease, so that the next leader need not wait for it to expire."""
        self._stop.set()
        self._try_now.set()
        if self._thread is not None:
            self._thread.join(timeout=_LAST_ATTEMPT_SECONDS)
        self._tenure.end()
        if self._thread is None or not self._thread.is_alive():
            self.release()
        else:
            log.warning("releasing the lease failed: a request hangs, the lease expires by itself")
        if self._listener is not None:
            self._listener.stop()

    def checks(self) -> Mapping[str, Callable[[], str]]:
        """Return the health checks by name: each returns ``ok``, or a sentence.

        ``election`` (live): attempts are made. ``lease``: this process leads, or could. ``redis``: Redis answers it.
        """
        return {"election": self._check_attempts, "lease": self.check_lease, "redis": self._check_redis}

    # --- attempts --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._try_now.clear()
            self._attempted_at = self._clock.elapsed()
            try:
                seconds = self.attempt()
            except Exception:
                # A broken loop would let the term end without anybody trying to renew it.
                log.exception("election attempt failed")
                seconds = self._retry_seconds
            self._try_now.wait(seconds)

    def _begin(self, term: Term, until: float) -> None:
        self._tenure.begin(term, until)
        log.info("leading", epoch=term.epoch, holder=term.holder)
        self._context.on_change()

    def _ongoing_term(self) -> Term | None:
        """Return the term that goes on; one whose time is over is ended, because nobody may act under it again."""
        term = self._tenure.term
        if term is not None and self._clock.elapsed() >= self._tenure.until:
            self.step_down("it was not renewed in time")
            return None
        return term

    # --- health ----------------------------------------------------------------------------------

    def _check_attempts(self) -> str:
        seconds = self._clock.elapsed() - self._attempted_at
        return "ok" if seconds < self._stalled_seconds else f"the election has not turned for {seconds:.0f} s"

    def redis_silent_seconds(self) -> float:
        """Return how long ago Redis last answered this election."""
        return self._clock.elapsed() - self.redis_answered_at()

    def _check_redis(self) -> str:
        seconds = self.redis_silent_seconds()
        return "ok" if seconds < REDIS_AWAY_SECONDS else f"redis has not answered for {seconds:.0f} s"


def quiet_in(now: datetime) -> float:
    """Return the seconds until no minute's start is within ``QUIET_SECONDS``; 0 where that is so already."""
    second = now.second + now.microsecond / 1e6
    if second < QUIET_SECONDS:
        return QUIET_SECONDS - second
    return 60 + QUIET_SECONDS - second if second > 60 - QUIET_SECONDS else 0.0
