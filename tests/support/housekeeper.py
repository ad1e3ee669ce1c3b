"""A leader's housekeeping without a scheduler: for what becomes of workers' runs."""

import contextlib
import threading
from collections.abc import Iterator

from redis.exceptions import RedisError

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.redis_store import connections
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.housekeeping import Housekeeper
from kuber_cron.scheduler.maintenance.reaper import MaintenanceEvent

KEYS = Keys("rq")


@contextlib.contextmanager
def housekeeping(url: str, *, ttl_seconds: float) -> Iterator[list[MaintenanceEvent]]:
    """A leader's rounds, five a second, while the block runs; yields what they have put in order."""
    client = connections.open_client(url, "deciding")
    client.hset(KEYS.fence, "epoch", 1)
    clock = RedisClock(SystemClock())
    keeper = Housekeeper(Store(client, KEYS), clock, ttl_seconds)
    done, found = threading.Event(), []

    def rounds() -> None:
        while not done.wait(0.2):
            try:
                found.extend(keeper.round(Term(1, "tester")))
            except RedisError:
                keeper.redis_was_away()

    thread = threading.Thread(target=rounds)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        client.close()
