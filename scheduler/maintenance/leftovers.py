"""Leftovers: what nobody would ever delete, because the job or the run that it belongs to is gone.

Jobs that have left the files are forgotten once none of their runs is open (common/redis_store/lua/forget_jobs.lua);
entries of expired runs are taken out of RQ's registries. What an older version has left, or a script that failed half-way,
is found a page at a time: each round reads a bounded part of Redis, whatever it holds.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime

import structlog
from redis.exceptions import ResponseError

from kuber_cron.common.records.parsing import text
from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_PAGE = 1000  # fields or keys read in one round, of each kind
_JOBS = 100  # jobs forgotten in one call, about 2 ms
_TRIMMED = 500  # entries of each registry in one call
# Registries hold what has ended weeks ago: a minute's delay is nothing to them.
_TRIM_ROUNDS = 60
# The words that counts end in, those of attempts included; others are found where they stand.
_WORDS = sorted(
    {
        *SkipReason,
        "error",
        "success",
        "failed",
        "timed_out",
        "signalled",
        "lost",
        "stopped",
        "interrupted",
        "replaced",
    }
)


class Leftovers:
    """Makes one round at a time. Owned by the maintenance loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scan_at: dict[str, int] = {}
        self._rounds = 0

    def round(self, term: Term, known: Collection[str], now: datetime) -> None:
        """Forget some jobs that are gone; ``known`` are those in the files, which are not. ``now``: Redis' time.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer; what is left is found again.
        """
        keys = self._store.keys
        found: set[str] = {text(job) for job in self._page(keys.removed)}
        words = set(_WORDS)
        for counts in (keys.missed, keys.ended):
            for name in self._page(counts):
                job, _, word = text(name).rpartition("|")
                if job not in known:
                    found.add(job)
                    words.add(word)
        for fields in (keys.lost, keys.paused):
            found |= {text(job) for job in self._page(fields)} - {"*"}
        found |= set(self._jobs_of_keys())
        self._forget(term, sorted(found.difference(known)), sorted(words))
        if self._rounds % _TRIM_ROUNDS == 0:
            self._trim_registries(term, now)
        self._rounds += 1

    def _page(self, key: str) -> Collection[bytes | str]:
        """Return the names of the next fields of a hash; of one that is no hash, none."""
        try:
            self._scan_at[key], page = self._store.client.hscan(key, self._scan_at.get(key, 0), count=_PAGE)
        except ResponseError:
            return ()
        return page

    def _jobs_of_keys(self) -> Iterator[str]:
        """Yield the jobs that the next keys without an expiry are named by."""
        keys, client = self._store.keys, self._store.client
        by_job: tuple[Callable[[str], str], ...] = (keys.history, keys.sizes, keys.stats, keys.log, keys.past)
        prefixes = tuple(name("") for name in by_job)
        at = self._scan_at.get("", 0)
        self._scan_at[""], page = client.scan(at, match=f"{keys.log('').removesuffix('log:')}*", count=_PAGE)
        named = [name for key in page if (name := text(key)).startswith(prefixes)]
        with client.pipeline(transaction=False) as pipe:
            for name in named:
                pipe.ttl(name)
            ttls = pipe.execute()
        for name, ttl in zip(named, ttls, strict=True):
            if ttl == -1:
                yield next(name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix))

    def _forget(self, term: Term, jobs: list[str], words: list[str]) -> None:
        for start in range(0, len(jobs), _JOBS):
            part = jobs[start : start + _JOBS]
            reply = self._store.call("forget_jobs", term.epoch, term.lease, len(words), *words, *part)
            for job in accepted(reply, term):
                log.info("removed job forgotten", job=job)

    def _trim_registries(self, term: Term, now: datetime) -> None:
        keys = self._store.keys
        for queue in sorted(keys.queue_name(key) for key in self._store.client.smembers(keys.queues)):
            arguments = (term.epoch, term.lease, queue, now.timestamp(), _TRIMMED)
            accepted(self._store.call("trim_registries", *arguments), term)
