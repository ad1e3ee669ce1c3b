"""A watch on the workers for tests that step through time: it judges by a key, which a dead worker's harness has deleted."""

from collections.abc import Mapping

from redis import Redis

from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.scheduler.maintenance.worker_watch import WorkerMark, WorkerWatch


class SteppedWatch(WorkerWatch):
    """Finds dead at once whoever has no liveness key. What time does to a watch has tests of its own."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        super().__init__(0.0)
        self._client, self._keys = client, keys

    def look(self, now: float, marks: Mapping[str, WorkerMark]) -> dict[str, WorkerMark]:
        """The marks of those without the key."""
        del now
        return {name: mark for name, mark in marks.items() if not self._client.exists(self._keys.alive(name))}
