"""The fence in Redis, and the lease's key beside it, as an election uses them.

Each answer carries Redis' time, so each is also a measurement of the own clock's offset. Errors leave here as
ours; what an unanswered call has done is told by each script's header: all of them may be repeated.
"""

from dataclasses import dataclass

from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store


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
    """The scripts ``claim_fence`` and ``redis_lease`` for one process of one cluster."""

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

    def check(self, epoch: int) -> FenceReply:
        """Return what the fence holds; where it holds this ``epoch`` of ours, others see that we are alive."""
        return self._ask("claim_fence", "check", epoch, 3 * self._ttl_ms)

    def claim(self, epoch: int) -> FenceReply:
        """Claim the fence.

        ``CLAIMED``: this epoch may write and every older one is fenced. ``STALE``: a larger one may, which is the reply's.
        """
        return self._ask("claim_fence", "claim", epoch, 3 * self._ttl_ms)

    def acquire_lease(self, epoch: int) -> FenceReply:
        """Take the lease's key, if it is free, for an epoch above ``epoch`` and above the fence's."""
        return self._ask("redis_lease", "acquire", epoch, self._ttl_ms)

    def renew_lease(self, epoch: int) -> FenceReply:
        """Let the lease's key of this epoch live for another ttl."""
        return self._ask("redis_lease", "renew", epoch, self._ttl_ms)

    def release_lease(self, epoch: int) -> FenceReply:
        """Delete the lease's key of this epoch and notify the standbys."""
        return self._ask("redis_lease", "release", epoch, self._ttl_ms)

    def publish_release(self) -> None:
        """Notify the standbys that the lease is free."""
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
