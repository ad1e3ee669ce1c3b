"""The fence in Redis as an election meets it, and the channel on which a leader says that it leaves.

Each answer carries Redis' time, so each is also a measurement of the own clock's offset. Errors leave here as
ours; what an unanswered call has done is told by each script's header: all of them may be repeated.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.election.redis_clock import RedisClock

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.2  # how soon the listener notices that it is to end
_PAUSE_SECONDS = 1.0  # after Redis could not be listened to


@dataclass(frozen=True, slots=True)
class FenceReply:
    """One answer of a script.

    Attributes:
        verdict: Its word; see the script's header.
        epoch: The fence's, or the one that was taken.
        who: The fence's holder, the other cluster, or who holds the lease's key.
        through: How many decisions there are.
    """

    verdict: str
    epoch: int
    who: str
    through: int


class Fence:
    """The scripts ``term`` and ``lease`` for one process of one cluster."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        server_clock: RedisClock,
        holder: str,
        cluster: str,
        ttl_seconds: float,
    ) -> None:
        """``ttl_seconds``: the lease's; another cluster counts as alive for three times as long."""
        self._store = store
        self._clock = clock
        self._server_clock = server_clock
        self._holder, self.cluster = holder, cluster
        self._ttl_ms = int(ttl_seconds * 1000)
        self.answered_at = clock.elapsed()

    def look(self, epoch: int) -> FenceReply:
        """What the fence holds; where it holds this ``epoch`` of ours, others see that we are alive."""
        return self._ask("term", "look", epoch, 3 * self._ttl_ms)

    def claim(self, epoch: int) -> FenceReply:
        """``CLAIMED``: this epoch may write and every older one is fenced. ``STALE``: the larger one's number."""
        return self._ask("term", "claim", epoch, 3 * self._ttl_ms)

    def lease(self, action: str, epoch: int) -> FenceReply:
        """``acquire``, ``renew`` or ``release`` of the lease's key."""
        return self._ask("lease", action, epoch, self._ttl_ms)

    def announce(self) -> None:
        """The standbys know that the lease is free."""
        try:
            self._store.client.publish(self._store.keys.released, self._holder)
        except RedisError as error:
            raise RedisUnreachableError(str(error) or type(error).__name__) from error

    def _ask(self, script: str, action: str, epoch: int, milliseconds: int) -> FenceReply:
        sent = self._clock.elapsed()
        try:
            reply = self._store.call(script, action, self._holder, epoch, self.cluster, milliseconds)
        except RedisError as error:
            raise RedisUnreachableError(str(error) or type(error).__name__) from error
        received = self._clock.elapsed()
        verdict, number, who, now_ms, through = (text(part) for part in reply)
        self._server_clock.measured(sent, received, float(now_ms) / 1000)
        self.answered_at = received
        return FenceReply(verdict, int(number), who, int(through))


class ReleaseListener:
    """Tells when a leader has said that it leaves. A word that is missed costs one retry's pause, no more."""

    def __init__(self, connect: Callable[[], "Redis"], keys: Keys, on_release: Callable[[], None]) -> None:
        """``connect`` gives a client of its own."""
        self._connect = connect
        self._channel = keys.released
        self._on_release = on_release
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-releases", daemon=True)

    def start(self) -> None:
        """Listen until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
                    listener.subscribe(self._channel)
                    while not self._stop.is_set():
                        if listener.get_message(timeout=_LOOK_SECONDS) is not None:
                            self._on_release()
            except RedisError:
                # The election says that Redis is away; this only makes a hand-over quicker.
                self._stop.wait(_PAUSE_SECONDS)
            except Exception:
                log.exception("listening for released leases failed")
                self._stop.wait(_PAUSE_SECONDS)
