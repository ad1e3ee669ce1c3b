"""RQ's lists of workers, which have no expiry of their own: dead workers are taken off them, some at a time."""

import structlog

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_WORKERS = 1000  # asked in one round
_DEAD = 100  # taken off in one call …
_LISTS = 500  # … from so many lists


class DeadWorkerLists:
    """Owned by the maintenance loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scan_at = 0

    def remove_some(self, term: Term) -> None:
        """Take the dead ones of the next workers off all lists.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer; they are found again.
        """
        keys, client = self._store.keys, self._store.client
        self._scan_at, page = client.sscan(keys.workers, self._scan_at, count=_WORKERS)
        workers = sorted({text(worker) for worker in page})
        dead = accepted(self._store.call("find_dead_workers", term.epoch, term.lease, *workers), term)
        if not dead:
            return
        # A worker was on a list of each queue that it took from, used or not. Its record named them and has expired, so the
        # lists are found among all keys.
        found = client.scan_iter(keys.queue_workers("*"), count=1000, _type="set")
        lists = sorted(text(key) for key in found)
        for start in range(0, len(dead), _DEAD):
            self._remove(term, dead[start : start + _DEAD], lists)

    def _remove(self, term: Term, dead: list[str], lists: list[str]) -> None:
        for start in range(0, len(lists) or 1, _LISTS):
            is_last = start + _LISTS >= len(lists)
            part = lists[start : start + _LISTS]
            reply = self._store.call(
                "remove_dead_workers", term.epoch, term.lease, int(is_last), len(dead), *dead, *part
            )
            for worker in accepted(reply, term):
                log.info("dead worker removed from RQ's lists", worker=worker)
