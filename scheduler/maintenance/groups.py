"""Groups: their limits as the files have them, and places for the runs that wait for one.

A decision sets its group's limit too, but the next one may be a month away. The end of a run calls up the next in line;
what is left for housekeeping is a limit that was raised, and a run that was called up and that no worker takes.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.election.term import Term

_LIMITS = 500  # set in one call
_GROUPS = 10  # served in one call
_MOST = 100  # of each at most so many members are asked in a call, and so many runs called up


class GroupKeeper:
    """Owned by the maintenance loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._epoch = 0
        self._entries: Mapping[str, CatalogEntry] | None = None

    def set_limits(self, term: Term, entries: Mapping[str, CatalogEntry]) -> None:
        """Set the limits of all groups, once a term and after each change of the files.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer; they are set the next time.
        """
        if term.epoch == self._epoch and entries is self._entries:
            return
        limits = dict(sorted({entry.relations.group for entry in entries.values()} - {None}))  # type: ignore[arg-type, type-var] # None is taken out
        pairs = list(limits.items())
        for start in range(0, len(pairs), _LIMITS):
            values = [value for pair in pairs[start : start + _LIMITS] for value in pair]
            accepted(self._store.call("set_group_limits", term.epoch, term.lease, *values), term)
        self._epoch, self._entries = term.epoch, entries

    def serve(self, term: Term, now: datetime) -> Iterator[tuple[str, str]]:
        """Call up runs that wait in groups with room; yield each run and its job.

        Raises:
            FencedError, StateLostError, redis.RedisError: As ``set_limits``.
        """
        keys, client = self._store.keys, self._store.client
        groups = sorted(text(group) for group in client.hkeys(keys.groups))
        with client.pipeline(transaction=False) as pipe:
            for group in groups:
                pipe.exists(keys.waiting(group))
            waiting = [group for group, waits in zip(groups, pipe.execute(), strict=True) if waits]
        for start in range(0, len(waiting), _GROUPS):
            reply = self._store.call(
                "serve_groups",
                term.epoch,
                term.lease,
                rq_instant(now),
                now.timestamp(),
                _MOST,
                *waiting[start : start + _GROUPS],
            )
            words = accepted(reply, term)
            yield from zip(words[1::3], words[2::3], strict=True)
