"""Housekeeping: the repairs that the leader makes once a second (spec: reliability.md §4, §6).

Due retries are queued, runs of dead workers are queued again, and what they had claimed goes back to its
queue. Every step is a script with the deciding script's own epoch check, so two leaders cannot both do it.

Reaping pauses for ttl + 2 s after Redis was away or restarted: meanwhile every execution's key expires, and
a whole fleet that is alive would be run twice.
"""

import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog
from redis.exceptions import ResponseError

from kuber_cron.common.records.history_limits import HistoryLimits
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.election.redis_clock import RedisClock
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.groups import GroupKeeper
from kuber_cron.scheduler.maintenance.leftovers import Leftovers

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
_RQ_FAILED = "2"  # rq.results.Result.Type.FAILED


@dataclass(frozen=True, slots=True)
class MaintenanceEvent:
    """One repair, and its run.

    ``what`` is ``retried``, ``lost_again``, ``lost_failed``, ``returned``, ``removed``, ``opened`` or ``served``.
    """

    what: str
    run: str
    job: str


class Housekeeper:
    """Makes one round at a time. The caller has the term and handles Redis' errors."""

    def __init__(
        self, store: Store, clock: RedisClock, worker_ttl_seconds: float, limits: HistoryLimits | None = None
    ) -> None:
        self._store = store
        self._limits = limits or HistoryLimits()
        self._limited_in = 0  # the epoch in which they were last sent
        self._clock = clock
        self._pause_seconds = worker_ttl_seconds + 2.0
        self._reap_from = clock.elapsed() + self._pause_seconds
        self._run_id = ""
        self._leftovers = Leftovers(store)
        self._groups = GroupKeeper(store)
        self._scan_at = self._rounds = 0

    def redis_was_away(self) -> None:
        """Reap nothing until the workers had time to come back."""
        self._reap_from = self._clock.elapsed() + self._pause_seconds

    def round(self, term: Term) -> Iterator[MaintenanceEvent]:
        """Make one round of repairs.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer; call ``redis_was_away`` and try again.
        """
        self._notice_restart()
        if term.epoch != self._limited_in:
            self._set_history_limits(term)
        reap = self._clock.elapsed() >= self._reap_from
        for origin in self._queues():
            try:
                yield from self._queue_round(term, origin, reap=reap)
            except ResponseError as error:
                if not str(error).startswith(("WRONGKIND", "WRONGTYPE")):
                    raise
                # One queue whose keys are not ours must not keep the others from their repairs.
                log.error("housekeeping of a queue failed", queue=origin, error=str(error))  # noqa: TRY400 - no traceback needed
        if reap:
            yield from self._return_claims(term)
        yield from self._repair_runs(term)
        for run, job in self._groups.serve(term, self._clock.now()):
            yield MaintenanceEvent("served", run, job)
        self._rounds += 1
        if self._rounds % _DEAD_WORKER_ROUNDS == 0:
            self._remove_dead_workers(term)

    def follow_files(self, term: Term, entries: Mapping[str, CatalogEntry]) -> None:
        """Set the limits of groups as the files have them, and forget jobs that have left the files.

        Raises:
            FencedError, StateLostError, redis.RedisError: As ``round``.
        """
        self._groups.set_limits(term, entries)
        self._leftovers.round(term, entries, self._clock.now())

    def _remove_dead_workers(self, term: Term) -> None:
        """Remove dead workers from RQ's lists."""
        if not accepted(self._store.call("find_dead_workers", term.epoch, term.lease), term):
            return
        # It was on a list of each queue that it took from, used or not. Its record named them and has expired, so
        # the lists are found among all keys.
        lists = sorted(
            text(key)
            for key in self._store.client.scan_iter(
                self._store.keys.queue_workers("*"), count=1000, _type="set"
            )
        )
        for worker in accepted(self._store.call("remove_dead_workers", term.epoch, term.lease, *lists), term):
            log.info("dead worker removed from RQ's lists", worker=worker)

    def _notice_restart(self) -> None:
        run_id = text(self._store.client.info("server").get("run_id"))
        if self._run_id and run_id != self._run_id:
            log.warning("redis was restarted", run_id=run_id)
            self.redis_was_away()
        self._run_id = run_id

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

    def _queue_round(self, term: Term, origin: str, *, reap: bool) -> Iterator[MaintenanceEvent]:
        now = self._clock.now()
        sentence = "the worker was lost: no heartbeat within its ttl"
        result = ["type", _RQ_FAILED, "exc_string", b64encode(zlib.compress(sentence.encode())).decode()]
        arguments = (term.epoch, term.lease, origin, rq_instant(now), now.timestamp())
        yield from _events(accepted(self._store.call("enqueue_due_retries", *arguments, _MOVES), term))
        if reap:
            yield from _events(accepted(self._store.call("reap_lost_attempts", *arguments, *result), term))

    def _repair_runs(self, term: Term) -> Iterator[MaintenanceEvent]:
        """Check a part of the open runs: all of them within ``_CHECK_ROUNDS`` rounds, held ones in each."""
        client, keys = self._store.client, self._store.keys
        size = max(_CHECKED, -(-client.hlen(keys.open_runs) // _CHECK_ROUNDS))
        self._scan_at, part = client.hscan(keys.open_runs, self._scan_at, count=size)
        held = client.zrange(keys.held, 0, _MOVES - 1)
        found = [text(run) for run in {*part, *held}]
        now = self._clock.now()
        for start in range(0, len(found), _CHECKED):
            reply = self._store.call(
                "repair_runs",
                term.epoch,
                term.lease,
                rq_instant(now),
                now.timestamp(),
                *sorted(found[start : start + _CHECKED]),
            )
            rest = accepted(reply, term)
            for what, run, job in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
                if what == "stuck":
                    log.error("repairing a run failed", run=run, error=job)
                else:
                    yield MaintenanceEvent(what, run, job)

    def _return_claims(self, term: Term) -> Iterator[MaintenanceEvent]:
        workers = sorted(text(name) for name in self._store.client.smembers(self._store.keys.claimers))
        if workers:
            reply = self._store.call("return_dead_claims", term.epoch, term.lease, *workers)
            for run in accepted(reply, term):
                yield MaintenanceEvent("returned", run, "")


def _events(words: list[str]) -> Iterator[MaintenanceEvent]:
    for what, run, job in zip(words[0::3], words[1::3], words[2::3], strict=True):
        yield MaintenanceEvent(what, run, job)
