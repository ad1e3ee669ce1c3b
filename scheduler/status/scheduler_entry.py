"""The scheduler entry: what a replica publishes of itself in Redis, standbys included.

Published every few seconds by the maintenance loop, for ``kuber-cron status``. It does *not* show who may decide.
"""

from datetime import datetime, timedelta

from redis.exceptions import RedisError

from kuber_cron.common.records import processes
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store

PUBLISH_SECONDS = 5.0
_FORGOTTEN = timedelta(hours=1)  # a replica that was killed stays on the list for as long
_TTL_SECONDS = 86400  # of the list, where nobody publishes any more


class Lateness:
    """The largest lateness of the last one to two minutes. One thread notes, any may read."""

    def __init__(self) -> None:
        self._minutes: tuple[tuple[int, float], ...] = ()

    def note(self, at: datetime, seconds: float) -> None:
        """Note how late a decision was."""
        minute = int(at.timestamp()) // 60
        before = dict(self._minutes)
        before[minute] = max(seconds, before.get(minute, 0.0))
        self._minutes = tuple(sorted(before.items()))[-2:]

    def largest(self, now: datetime) -> float | None:
        """Return the largest of this minute and the one before; None where nothing was decided."""
        since = int(now.timestamp()) // 60 - 1
        return max((seconds for minute, seconds in self._minutes if minute >= since), default=None)


class SchedulerEntry:
    """The entries of the replicas, of which one is ours."""

    def __init__(self, store: Store, holder: str) -> None:
        self._store = store
        self._key = store.keys.schedulers
        self._holder = holder

    def publish(self, entry: processes.SchedulerInfo) -> None:
        """Replace our entry, and delete those of replicas that are long gone.

        Raises:
            redis.RedisError: Redis did not answer, or refused.
        """
        with self._store.client.pipeline(transaction=False) as pipe:
            pipe.hset(self._key, self._holder, entry.to_text())
            pipe.expire(self._key, _TTL_SECONDS)
            pipe.hgetall(self._key)
            *_, found = pipe.execute()
        gone = [holder for holder, other in found.items() if _is_gone(text(other), entry.seen_at)]
        if gone:
            self._store.client.hdel(self._key, *gone)

    def withdraw(self) -> None:
        """Delete our entry, if Redis takes it."""
        try:
            self._store.client.hdel(self._key, self._holder)
        except RedisError:
            return  # the entry ages, and is deleted by others


def _is_gone(entry_text: str, now: datetime) -> bool:
    entry = processes.SchedulerInfo.from_text(entry_text)
    return entry is None or now - entry.seen_at > _FORGOTTEN
