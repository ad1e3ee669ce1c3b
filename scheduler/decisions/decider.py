"""The decider: decides what is due at this moment, and returns when it has to be called again.

Cursors are read from Redis at the start of each term and after every doubt, and believed in between; the script
in Redis has the last word. A decision that was not applied is tried again soon, and its job's dependents wait meanwhile
(``pending_jobs``). When Redis turns out to have lost writes, the term ends, and the next one begins with the repair
(``state_loss``).

What it does *not* know: threads and waiting. It is owned by one loop, which hands it the term and the jobs.

One module, because a turn is one transaction: what is due is planned, sent and taken in.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter

import structlog

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.cursor import is_readable
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.decisions.dispatcher import BatchItem, BatchReply, DecisionResult, Dispatcher
from kuber_cron.scheduler.decisions.known_cursors import KnownCursors
from kuber_cron.scheduler.decisions.pending_jobs import PendingJobs
from kuber_cron.scheduler.decisions.planner import CatalogEntry, Plan
from kuber_cron.scheduler.decisions.reboot import Boot, plan_reboot
from kuber_cron.scheduler.decisions.removals import Removals
from kuber_cron.scheduler.decisions.result_intake import SOON_SECONDS, ResultIntake
from kuber_cron.scheduler.decisions.server_watch import ServerWatch
from kuber_cron.scheduler.decisions.state_loss import StateLoss
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_rank = attrgetter("relations.rank")
_first = attrgetter("decision.first")


class Decider:
    """One replica's deciding. ``forget`` after every doubt; the next turn then begins from what Redis holds."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        clock: RedisClock,
        *,
        boot_token: str,
        on_result: Callable[[DecisionResult, Catalog], None],
        removals: Removals | None = None,
    ) -> None:
        """``on_result`` is called with the result of every decision that was applied."""
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._on_result = on_result
        self._cursors = KnownCursors(self._stored_cursor)
        self._pending = PendingJobs()
        self._loss = StateLoss()
        self._server = ServerWatch(store, clock)
        self._removals = removals or Removals()
        self._results = ResultIntake(
            clock, cursors=self._cursors, pending=self._pending, loss=self._loss, removals=self._removals
        )
        self._boot = Boot(boot_token, is_new=False)
        self._epoch: int | None = None
        self._catalog: Catalog | None = None  # the one that the jobs are pending by

    # --- the term ------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Believe nothing any more; the cursors are remembered, to notice what Redis may lose."""
        if self._epoch is not None:
            # That a cursor which we have asked to be dropped is gone shows nothing, whether the answer came or not.
            known = self._cursors.without(self._removals.unanswered)
            self._loss.remember(self._epoch, known, self._dispatcher.through)
        self._removals.forget()
        self._epoch = None
        self._pending.clear()

    def begin(self, term: Term, catalog: Catalog) -> bool:
        """Learn the term's cursors and plan every job. Returns True if Redis has lost writes.

        Raises:
            RedisUnreachableError, redis.RedisError: Redis did not answer.
            FencedError, StateLostError: The term is over.
        """
        self._server.begin()
        stored = int(text(self._store.client.hget(self._store.keys.fence, "through")) or 0)
        has_lost = self._loss.has_lost_decisions(term, stored)
        self._dispatcher.through = stored
        with self._loss.noted(term):
            self._dispatcher.verify(term, self._clock.now())
        self._cursors.replace(self._dispatcher.cursors(), self._dispatcher.timings())
        has_lost = self._loss.begin_repair(term, self._cursors.texts, catalog.entries, has_lost=has_lost)
        boot = text(self._store.client.get(self._store.keys.boot))
        self._server.compared(has_lost=has_lost)
        # Redis has answered all: until here another try begins where this one did.
        self._boot = replace(self._boot, is_new=boot != self._boot.token)
        self._epoch = term.epoch
        self._loss.has_begun(term)
        self._catalog = None
        self.reload(catalog)
        log.info("deciding", epoch=term.epoch, jobs=len(catalog.entries))
        return has_lost

    def reload(self, catalog: Catalog) -> None:
        """Plan every job that is not as it was, a few hundred a turn; the planner finds out if it is really due.

        At once each that waits for others or is waited for, because those may have changed. The rest stay planned as they are.
        """
        before: Mapping[str, CatalogEntry] = {} if self._catalog is None else self._catalog.entries
        self._catalog = catalog
        now = self._clock.now()
        if not before:
            self._pending.clear()
        for job in before.keys() - catalog.entries.keys():
            self._pending.plan_anew(job, None)
        for job, entry in catalog.entries.items():
            if not before or entry.job.after or entry.relations.watched:
                self._pending.plan_anew(job, now)
            elif before.get(job) is not entry:
                self._pending.edited(job)
        self._removals.replace(self._cursors.texts.keys() - catalog.entries.keys())
        if not before or self._cursors.is_ahead_of(now):
            self._cursors.measure(self._cursors.texts.keys() & catalog.entries.keys())

    def is_in_doubt(self, term: Term) -> bool:
        """Return True where Redis may be another than the one that was compared, and believe nothing any more then.

        Asked once a second, whether anything is due or not.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer.
        """
        with self._loss.noted(term):
            if not self._server.is_another(term, self._dispatcher.through):
                return False
        self.forget()
        return True

    # --- one turn ------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int | None:
        """The epoch of the term that is believed in; None after ``forget``."""
        return self._epoch

    @property
    def ahead_seconds(self) -> float:
        """The seconds that the farthest cursor is ahead of Redis' clock, which has stepped back; 0 normally."""
        return self._cursors.ahead_seconds(self._clock.now())

    def turn(self, term: Term, catalog: Catalog, settled_seconds: float, leads: Callable[[], bool]) -> float:
        """Decide what is due; return how many seconds may pass until the next turn.

        Args:
            term: Ours, as the election has just answered.
            catalog: The jobs in force.
            settled_seconds: How long the files have been as the catalog has them.
            leads: Returns True while this is still our term; called before each batch.

        Raises:
            TermOverError, FencedError, StateLostError, RedisUnreachableError: As ``Dispatcher.apply``; call ``forget``.
        """
        if self._catalog is None or catalog.version != self._catalog.version:
            self.reload(catalog)
        now = self._clock.now()
        self._pending.plan_some_edited(now)
        following: list[tuple[str, datetime | None]] = []
        items = [*self._due(catalog, now, following), *self._removed(catalog, settled_seconds, now)]
        replies: list[BatchReply] = []
        applied: list[DecisionResult] = []
        try:
            with self._loss.noted(term):
                for reply in self._dispatcher.apply(
                    items, term, cursors=self._cursors.texts, leads=leads, now=self._clock.now
                ):
                    replies.append(reply)
                    if not reply.is_applied:
                        self._pending.expect(following)
                        self._results.take_in_all(replies, applied, catalog)
        finally:
            # What went as it should is taken in and passed on last, and cannot raise: ten thousand of them and their log
            # lines before and between the batches would make the last ones late.
            self._pending.expect(following)
            self._results.take_in_all(replies, applied, catalog)
            for result in applied:
                self._on_result(result, catalog)
        if self._boot.is_new and catalog.version and self._pending.is_settled:
            self._dispatcher.boot_is_over(term, self._boot.token)
            self._boot = replace(self._boot, is_new=False)
        return self._prepare_or_wait(catalog)

    def _due(
        self, catalog: Catalog, now: datetime, following: list[tuple[str, datetime | None]]
    ) -> list[BatchItem]:
        """Return what is due, ready to be sent; ``following`` gets when its jobs are planned next."""
        pending = self._pending
        items: list[BatchItem] = []
        soon = now + timedelta(seconds=SOON_SECONDS)
        # Predecessors first, so that a dependent sees if they are unapplied.
        entries = [catalog.entries[job] for job in pending.due.due(now)]
        entries.sort(key=_rank)
        for entry in entries:
            job = entry.job.id
            if pending.waits_for_any(entry.job.after):
                pending.not_applied(job)
                pending.due.put(job, soon)
                continue
            is_repairing = self._loss.is_repairing(job)
            ready = None if is_repairing else pending.prepared.take(job, self._cursors.of(job), now)
            if ready is not None:
                items.append(ready[0])
                following.append((job, ready[1]))
                if entry.relations.watched:
                    pending.expect(following)
                continue
            as_of = pending.planned_as_of(job, now)
            planned = self._plan(entry, as_of)
            if (wait_until := self._first_open(entry, planned, catalog)) is not None:
                pending.wait(job, as_of, wait_until)
                continue
            items.extend(self._dispatcher.item(decision, entry) for decision in planned.decisions)
            if not planned.decisions:
                pending.applied(job)  # somebody else has decided it, up to its cursor
            following.append((job, planned.wake_at))
            pending.expect(following)
        # In the order of instants over all jobs; predecessors, which came first, stay first at one instant.
        items.sort(key=_first)
        return items

    def _first_open(self, entry: CatalogEntry, planned: Plan, catalog: Catalog) -> datetime | None:
        """Return when a predecessor has to be decided first, which is not due yet: an edit decides without any delay."""
        runs = [decision.last for decision in planned.decisions if decision.kind == "queue"]
        for other in entry.job.after if runs else ():
            due = self._pending.due.at(other)
            if due is not None and due - catalog.entries[other].delay <= runs[-1]:
                return due
        return None

    def _plan(self, entry: CatalogEntry, now: datetime) -> Plan:
        job = entry.job.id
        readable = self._cursors.readable(job)
        timing = self._cursors.timing(job)
        if repair := self._loss.repair(entry, readable, now, timing):
            # The rest follows once this is applied, and only then what comes after this job.
            self._pending.not_applied(job)
            return self._replacing(job, Plan(repair, now))
        if entry.schedule.kind == "reboot":
            made = plan_reboot(entry, readable, now, self._boot)
        else:
            made = planner.plan(entry, readable, now, timing)
        return self._replacing(job, made)

    def _replacing(self, job: str, made: Plan) -> Plan:
        """Return a plan that replaces an unreadable cursor by compare-and-set like any other."""
        stored = self._cursors.of(job)
        if not made.decisions or not stored or is_readable(stored):
            return made
        return Plan((replace(made.decisions[0], believed=stored), *made.decisions[1:]), made.wake_at)

    def _removed(self, catalog: Catalog, settled_seconds: float, now: datetime) -> Iterable[BatchItem]:
        decisions = self._removals.decisions(
            self._cursors.of,
            self._cursors.timing,
            loaded_at=catalog.loaded_at,
            settled_seconds=settled_seconds,
            now=now,
        )
        return (self._dispatcher.item(decision, None) for decision in decisions)

    def _prepare_or_wait(self, catalog: Catalog) -> float:
        """Return the seconds until something is due; what can be prepared until then is, a little at a time."""
        if self._pending.has_edits:
            return 0.0
        now = self._clock.now()
        if self._pending.is_time_to_prepare(now):
            for job in self._pending.prepared.to_prepare(now):
                self._prepare(catalog.entries[job])
            return 0.0
        next_at = self._pending.next_at()
        seconds = float("inf") if next_at is None else (next_at - now).total_seconds()
        return max(0.0, min(seconds, 1.0) if self._removals.is_pending else seconds)

    def _prepare(self, entry: CatalogEntry) -> None:
        job = entry.job.id
        at, stored = self._pending.due.at(job), self._cursors.of(job)
        if at is None or not is_readable(stored) or entry.schedule.kind == "reboot":
            return
        planned = planner.plan(entry, stored, at, self._cursors.timing(job))
        if len(planned.decisions) == 1:
            item = self._dispatcher.item(planned.decisions[0], entry)
            self._pending.prepared.keep(job, item, planned.wake_at)

    def _stored_cursor(self, job: str) -> str:
        return text(self._store.client.hget(self._store.keys.cursors, job))

    def upcoming(self) -> dict[str, datetime]:
        """Return when each job is planned next, a copy."""
        return self._pending.due.upcoming()
