"""Leadership by a key in Redis, for where there is no Kubernetes: Compose, one machine (reliability.md §3).

The epochs are the same as under a Kubernetes Lease: each term of leadership takes the next number of
``fence.epoch``. The deciding script checks the lease's key too, so it expires by the one clock that also
takes the write. What this does *not* give: a leader while Redis is away; without Redis nothing is decided.
"""

import secrets
import socket
import threading
from collections.abc import Callable, Mapping

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.common.store import Store, text
from kuber_cron.scheduler.server_clock import ServerClock
from kuber_cron.scheduler.terms import Term

log = structlog.get_logger(__name__)

TTL_SECONDS = 5.0
RENEW_SECONDS = 1.0
# /livez fails when the election has not turned for this long: twice the longest lease that is usual.
_STALLED_SECONDS = 40.0
# A scheduler whose lease got no answer for this long could not decide (spec: reliability.md §3, Redis outage).
_REDIS_AWAY_SECONDS = 10.0
# Leadership ends locally this long before the key can expire.
MARGIN_SECONDS = 1.0


def identity() -> str:
    """Who we are, new for each process: a restarted container must not inherit what it does not hold."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


class RedisLease:
    """Holds the lease while it can. ``token()`` is the only question; ask right before each side effect."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        server_clock: ServerClock,
        holder: str,
        cluster: str,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._server_clock = server_clock
        self._holder = holder
        self._cluster = cluster
        self._on_change = on_change
        self._stop = threading.Event()
        self._try_now = threading.Event()
        self._thread: threading.Thread | None = None
        # Written by the loop alone, read as one tuple: never half of each.
        self._state: tuple[Term | None, float] = (None, 0.0)
        self._ticked_at = self._answered_at = clock.elapsed()
        self.transitions = 0

    def token(self) -> Term | None:
        """The term that we may act under now, or None."""
        term, valid_until = self._state
        return term if term is not None and self._clock.elapsed() < valid_until else None

    def start(self) -> None:
        """Contest the lease in a thread until ``stop``."""
        self._thread = threading.Thread(target=self._run, name="redis-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop leading and give the lease away, so that the next leader need not wait for it to expire."""
        self._stop.set()
        self._try_now.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        term, _ = self._state
        self._state = (None, 0.0)
        if term is not None:
            try:
                self._ask("release", term.epoch)
                log.info("leadership released", epoch=term.epoch)
            except RedisError as error:
                log.warning(
                    "leadership not released, it expires by itself", epoch=term.epoch, error=str(error)
                )

    def checks(self) -> Mapping[str, Callable[[], str]]:
        """The health checks by name."""
        return {"lease": self._check_lease, "redis": self._check_redis}

    def give_up(self, reason: str) -> None:
        """Stop acting at once: Redis has told us that the term is over."""
        term, _ = self._state
        if term is not None:
            self._state = (None, 0.0)
            log.warning("leadership lost", epoch=term.epoch, reason=reason)

    def tick(self) -> None:
        """One try to acquire or renew."""
        self._ticked_at = sent = self._clock.elapsed()
        term, _ = self._state
        try:
            verdict, epoch, who = self._ask("renew" if term else "acquire", term.epoch if term else 0)
        except RedisError as error:
            log.warning("the lease could not be reached", error=str(error))
            return
        valid_until = sent + TTL_SECONDS - MARGIN_SECONDS
        if verdict == "RENEWED":
            self._state = (term, valid_until)
        elif verdict == "ACQUIRED":
            self.transitions += 1
            self._state = (Term(epoch, self._holder, f"{self._holder}:{epoch}"), valid_until)
            log.info("leading", epoch=epoch, holder=self._holder)
            self._on_change()
        elif verdict == "LOST":
            self.give_up(f"the lease is held by {who or 'nobody'}")
            self._try_now.set()
        elif verdict == "OTHER_CLUSTER":
            log.error("this Redis serves another installation; not contesting", other=who, own=self._cluster)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._try_now.clear()
            try:
                self.tick()
            except Exception:
                # A broken loop would let the term end without anybody trying to renew it.
                log.exception("the election's turn failed")
            self._try_now.wait(RENEW_SECONDS)

    def _ask(self, action: str, epoch: int) -> tuple[str, int, str]:
        sent = self._clock.elapsed()
        reply = self._store.call("lease", action, self._holder, epoch, int(TTL_SECONDS * 1000), self._cluster)
        verdict, number, who, now_ms, _through = (text(part) for part in reply)
        self._answered_at = self._clock.elapsed()
        self._server_clock.measured(sent, self._answered_at, float(now_ms) / 1000)
        return verdict, int(number), who

    # --- health ----------------------------------------------------------------------------------

    def _check_lease(self) -> str:
        seconds = self._clock.elapsed() - self._ticked_at
        return "ok" if seconds < _STALLED_SECONDS else f"the election has not turned for {seconds:.0f} s"

    def _check_redis(self) -> str:
        seconds = self._clock.elapsed() - self._answered_at
        return "ok" if seconds < _REDIS_AWAY_SECONDS else f"redis has not answered for {seconds:.0f} s"
