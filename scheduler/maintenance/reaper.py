"""The reaper: takes runs and claims from workers that this leader has seen to be dead (spec: reliability.md §6).

It asks Redis once a second how far each worker's heartbeats have come, and judges by :class:`WorkerWatch`. Whatever makes it
doubt that the workers could be heard makes the watch begin anew: a new term, a Redis that did not answer, that is another
process or has another history, that has refused writes to anybody, or whose clock jumped.
"""

import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog
from redis.exceptions import ResponseError

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store, Value
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.decisions.server_watch import ServerIdentity
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.worker_watch import WorkerMark, WorkerWatch

log = structlog.get_logger(__name__)

_RQ_FAILED = "2"  # rq.results.Result.Type.FAILED
_SENTENCE = "the worker was lost: no heartbeat within its ttl"
# Attempts looked at in one call, about 2 ms, and taken in one call, about 5 ms.
_LOOKED_AT = 1000
_TAKEN = 100
# Workers named in one call. Each restart makes a new name, and the dead are remembered for a day.
_NAMES = 1000
# For so long after a worker was found dead all attempts are looked at in each round; otherwise one call's worth.
_FRESH_SECONDS = 10.0
_JUMP_SECONDS = 1.0
# Owners of attempts whose heartbeats Redis has forgotten, at most; those beyond it have their turn in the next term.
_UNKNOWN = 1000


@dataclass(frozen=True, slots=True)
class MaintenanceEvent:
    """One repair, and its run.

    ``what`` is ``retried``, ``lost_again``, ``lost_failed``, ``returned``, ``removed``, ``opened`` or ``served``.
    """

    what: str
    run: str
    job: str


def events_of(words: list[str]) -> Iterator[MaintenanceEvent]:
    """Read what, run, job, what, run, job, … as a script answers them."""
    for what, run, job in zip(words[0::3], words[1::3], words[2::3], strict=True):
        yield MaintenanceEvent(what, run, job)


@dataclass(frozen=True, slots=True)
class _Missing:
    """An attempt without heartbeats, though its worker lives: since when, and when it was last seen so."""

    since: float
    seen_at: float


class Reaper:
    """One leader's. ``watch`` once a second, then ``reap`` each queue and ``return_claims``."""

    def __init__(self, store: Store, clock: RedisClock, worker_ttl_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._ttl_seconds = self._longest_ttl_seconds = worker_ttl_seconds
        self._watch = WorkerWatch(worker_ttl_seconds)
        self._epoch = 0
        self._server: tuple[ServerIdentity, int] | None = None  # and how many writes it has refused
        self._clock_offset: tuple[float, float] | None = None
        self._unknown: set[str] = set()
        self._missing: dict[str, dict[str, _Missing]] = {}  # by queue
        self._dead: dict[str, WorkerMark] = {}
        self._fresh: dict[str, WorkerMark] = {}
        self._turn: list[tuple[str, WorkerMark]] = []
        self._turn_at = 0
        self._fresh_until = 0.0
        self._offsets: dict[str, int] = {}

    def begin_anew(self) -> None:
        """Forget what was seen of the workers: for a whole ttl from now on none is dead."""
        self._watch.begin_anew()
        self._unknown.clear()
        self._missing.clear()
        self._dead, self._fresh, self._turn = {}, {}, []

    def watch(self, term: Term) -> None:
        """Look at every worker's heartbeats.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer, or takes no writes; call ``begin_anew`` and try again.
        """
        if term.epoch != self._epoch:
            self._epoch = term.epoch
            self.begin_anew()
        self._notice_another_server()
        marks: dict[str, WorkerMark] = {}
        for names in self._pages():
            sent_at = self._clock.elapsed()
            now_ms, *words = accepted(self._store.call("watch_workers", term.epoch, term.lease, *names), term)
            server = float(now_ms) / 1000
            self._notice_jump(server - self._clock.elapsed(), server - sent_at)
            marks |= {
                name: WorkerMark.parse(mark) for name, mark in zip(words[0::2], words[1::2], strict=True)
            }
        now = self._clock.elapsed()
        self._longest_ttl_seconds = max([self._ttl_seconds, *(mark.ttl_seconds for mark in marks.values())])
        dead = self._watch.look(now, marks)
        for name in dead.keys() - self._dead.keys():
            event = "worker has left" if dead[name].has_left else "worker is dead: its heartbeats stand still"
            log.info(event, worker=name)
            self._fresh_until = now + _FRESH_SECONDS
        fresh = {name: mark for name, mark in dead.items() if name not in self._dead or name in self._fresh}
        self._fresh = fresh if now < self._fresh_until else {}
        self._dead = dead
        self._turn = self._next_turn()

    def reap(self, term: Term, origin: str) -> Iterator[MaintenanceEvent]:
        """Take the runs of one queue from the dead.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer; call ``begin_anew`` and try again.
        """
        is_fresh = self._clock.elapsed() < self._fresh_until
        offset = 0 if is_fresh else self._offsets.get(origin, 0)
        dead = [part for name, mark in self._turn for part in (name, mark.text)]
        result = ["type", _RQ_FAILED, "exc_string", b64encode(zlib.compress(_SENTENCE.encode())).decode()]
        while offset >= 0:
            now = self._clock.now()
            abandoned = self._abandoned(origin)
            reply = self._store.call(
                "reap_lost_attempts",
                term.epoch, term.lease, origin, rq_instant(now), now.timestamp(),
                offset, _LOOKED_AT, _TAKEN, len(self._turn), *dead, len(abandoned), *abandoned, *result,
            )  # fmt: skip
            following, unknown, *words = accepted(reply, term)
            count = int(unknown)
            if len(self._unknown) < _UNKNOWN:
                self._unknown.update(words[:count])
            missing, *rest = words[count:]
            self._note_missing(origin, rest[: int(missing)], are_all=(offset, int(following)) == (0, -1))
            events = rest[int(missing) :]
            yield from events_of(events)
            offset = int(following)
            if not is_fresh and not events:
                break
        self._offsets[origin] = max(0, offset)

    def _pages(self) -> Iterator[list[str]]:
        """Yield the names of all workers that may own something, as many at once as one call reads."""
        names = [
            text(name) for name in self._store.client.sscan_iter(self._store.keys.claimers, count=_NAMES)
        ]
        names = sorted({*names, *self._unknown})
        for start in range(0, max(1, len(names)), _NAMES):
            yield names[start : start + _NAMES]

    def _next_turn(self) -> list[tuple[str, WorkerMark]]:
        """Return the dead of this round: those just found, else the next of all, as many as one call takes."""
        found = sorted((self._fresh or self._dead).items())
        if len(found) <= _NAMES:
            return found
        self._turn_at = (self._turn_at + _NAMES) % len(found)
        return (found[self._turn_at :] + found)[:_NAMES]

    def _note_missing(self, origin: str, members: list[str], *, are_all: bool) -> None:
        """``are_all``: the whole queue was looked at, so that what is not among them has been heard of again."""
        now, before = self._clock.elapsed(), self._missing.get(origin, {})
        kept = (
            {} if are_all else {m: each for m, each in before.items() if now - each.seen_at <= _FRESH_SECONDS}
        )
        since = {m: each.since for m, each in before.items() if now - each.seen_at <= _FRESH_SECONDS}
        self._missing[origin] = kept | {member: _Missing(since.get(member, now), now) for member in members}

    def _abandoned(self, origin: str) -> list[str]:
        """Return the attempts that have been missing for the ttl, at most as many as one call takes."""
        found = (
            member
            for member, each in self._missing.get(origin, {}).items()
            if each.seen_at - each.since >= self._longest_ttl_seconds
        )
        return list(islice(found, _TAKEN))

    def return_claims(self, term: Term) -> Iterator[MaintenanceEvent]:
        """Return to their queues what the dead had claimed and not started.

        Raises: as ``reap``.
        """
        if not self._turn:
            return
        dead: list[Value] = [part for name, mark in self._turn for part in (name, mark.text)]
        reply = self._store.call("return_dead_claims", term.epoch, term.lease, *dead)
        for run in accepted(reply, term):
            yield MaintenanceEvent("returned", run, "")

    def _notice_another_server(self) -> None:
        """Begin anew where Redis may be another: a new process, a new history, or writes that were refused.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        server, replication, errors = (self._info(part) for part in ("server", "replication", "errorstats"))
        refused = sum(
            int(each["count"])
            for name, each in errors.items()
            if name in _REFUSALS and isinstance(each, dict) and "count" in each
        )
        found = (ServerIdentity.of(server, replication), refused)
        if self._server is not None and found != self._server:
            log.warning("workers are watched anew: redis was restarted, promoted, or refused writes")
            self.begin_anew()
        self._server = found

    def _info(self, section: str) -> dict[str, Any]:
        """Return a section of INFO, empty where the server does not permit it: the look itself is a write all the same."""
        try:
            found: dict[str, Any] = self._store.client.info(section)
        except ResponseError:
            return {}
        return found

    def _notice_jump(self, least: float, most: float) -> None:
        """Begin anew where Redis' clock differs from ours by more than before; by how much lies between these bounds.

        The bounds are of a call's sending and of its answer's arrival, so that a slow answer is no jump.
        """
        if self._clock_offset is not None:
            jump = max(least - self._clock_offset[1], self._clock_offset[0] - most)
            if jump > _JUMP_SECONDS:
                log.warning("workers are watched anew: a clock jumped", seconds=round(jump, 1))
                self.begin_anew()
        self._clock_offset = (least, most)


_REFUSALS = frozenset({"errorstat_OOM", "errorstat_MISCONF", "errorstat_BUSY", "errorstat_NOREPLICAS"})
