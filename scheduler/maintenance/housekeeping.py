"""Housekeeping: the repairs that the leader makes once a second (spec: reliability.md §4, §6).

Due retries are queued, runs of dead workers are queued again, and what they had claimed goes back to its
queue. Every step is a script with the deciding script's own epoch check, so two leaders cannot both do it.

Which workers are dead is judged by what this leader has seen itself (``worker_watch``); the watch begins anew with a term,
and whenever Redis was away, restarted, was promoted, refused writes, or its clock jumped.
"""

from collections.abc import Iterator, Mapping

import structlog
from redis.exceptions import ResponseError

from kuber_cron.common.records.history_limits import HistoryLimits
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.dead_worker_lists import DeadWorkerLists
from kuber_cron.scheduler.maintenance.groups import GroupKeeper
from kuber_cron.scheduler.maintenance.leftovers import Leftovers
from kuber_cron.scheduler.maintenance.reaper import MaintenanceEvent, Reaper, events_of

log = structlog.get_logger(__name__)

ROUND_SECONDS = 1.0
# Runs moved in one call, so that Redis is not held long by a herd of retries.
_MOVES = 500
# Open runs are checked this many in one call, about 2 ms, and all of them within so many rounds, so that a run
# that somebody deleted is noticed within 10 s.
_CHECKED = 1000
_CHECK_ROUNDS = 8
# RQ's lists of workers have no expiry of their own: dead ones are removed every few rounds.
_DEAD_WORKER_ROUNDS = 5


class Housekeeper:
    """Makes one round at a time. The caller has the term and handles Redis' errors."""

    def __init__(
        self, store: Store, clock: RedisClock, worker_ttl_seconds: float, limits: HistoryLimits | None = None
    ) -> None:
        self._store = store
        self._limits = limits or HistoryLimits()
        self._limited_in = 0  # the epoch in which they were last sent
        self._clock = clock
        self._reaper = Reaper(store, clock, worker_ttl_seconds)
        self._leftovers = Leftovers(store)
        self._groups = GroupKeeper(store)
        self._dead_workers = DeadWorkerLists(store)
        self._scan_at = self._rounds = 0

    def redis_was_away(self) -> None:
        """Watch the workers anew: they have had no answers either."""
        self._reaper.begin_anew()

    def round(self, term: Term) -> Iterator[MaintenanceEvent]:
        """Make one round of repairs.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer; call ``redis_was_away`` and try again.
        """
        self._reaper.watch(term)
        if term.epoch != self._limited_in:
            self._set_history_limits(term)
        for origin in self._queues():
            try:
                yield from self._queue_round(term, origin)
            except ResponseError as error:
                if not str(error).startswith(("WRONGKIND", "WRONGTYPE")):
                    raise
                # One queue whose keys are not ours must not keep the others from their repairs.
                log.error("housekeeping of a queue failed", queue=origin, error=str(error))  # noqa: TRY400 - no traceback needed
        yield from self._reaper.return_claims(term)
        yield from self._repair_runs(term)
        for run, job in self._groups.serve(term, self._clock.now()):
            yield MaintenanceEvent("served", run, job)
        self._rounds += 1
        if self._rounds % _DEAD_WORKER_ROUNDS == 0:
            self._dead_workers.remove_some(term)

    def follow_files(self, term: Term, entries: Mapping[str, CatalogEntry]) -> None:
        """Set the limits of groups as the files have them, and forget jobs that have left the files.

        Raises:
            FencedError, StateLostError, redis.RedisError: As ``round``.
        """
        self._groups.set_limits(term, entries)
        self._leftovers.round(term, entries, self._clock.now())

    def _set_history_limits(self, term: Term) -> None:
        limits = self._limits
        reply = self._store.call(
            "set_history_limits", term.epoch, term.lease, limits.runs, limits.seconds, limits.size
        )
        accepted(reply, term)
        self._limited_in = term.epoch

    def _queues(self) -> list[str]:
        keys = self._store.keys
        return sorted(keys.queue_name(key) for key in self._store.client.smembers(keys.queues))

    def _queue_round(self, term: Term, origin: str) -> Iterator[MaintenanceEvent]:
        now = self._clock.now()
        arguments = (term.epoch, term.lease, origin, rq_instant(now), now.timestamp())
        yield from events_of(accepted(self._store.call("enqueue_due_retries", *arguments, _MOVES), term))
        yield from self._reaper.reap(term, origin)

    def _repair_runs(self, term: Term) -> Iterator[MaintenanceEvent]:
        """Check a part of the open runs: all of them within ``_CHECK_ROUNDS`` rounds, held ones in each."""
        client, keys = self._store.client, self._store.keys
        size = max(_CHECKED, -(-client.hlen(keys.open_runs) // _CHECK_ROUNDS))
        part: set[str] = set()
        while len(part) < size:
            self._scan_at, page = client.hscan(keys.open_runs, self._scan_at, count=_CHECKED)
            part |= {text(run) for run in page}
            if self._scan_at == 0:
                break
        held = client.zrange(keys.held, 0, _MOVES - 1)
        found = sorted(part | {text(run) for run in held})  # type: ignore[arg-type] # members alone, without scores
        while found:
            now = self._clock.now()
            reply = self._store.call(
                "repair_runs",
                term.epoch,
                term.lease,
                rq_instant(now),
                now.timestamp(),
                *found[:_CHECKED],
            )
            handled, *rest = accepted(reply, term)
            # A call ends when it has done enough: what is left of its part is the next one's.
            del found[: max(1, int(handled))]
            for what, run, job in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
                if what == "stuck":
                    log.error("repairing a run failed", run=run, error=job)
                else:
                    yield MaintenanceEvent(what, run, job)
