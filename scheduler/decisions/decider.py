"""The decider: what a leader has to decide at this moment, decided, and when it has to look again.

Cursors are read from Redis at the start of each term and after every doubt, and believed in between; the script
in Redis has the last word. A decision that was not applied makes its job *troubled* until one is: its dependents
wait meanwhile, for they must be decided after it.

When Redis turns out to have lost writes (spec: reliability.md §8), the term ends, and the next one begins with
the repair: each job by its ``on_state_loss``, from what this process remembers of the cursors where it led last.

What it does *not* know: threads and waiting. It is owned by one loop, which hands it the term and the jobs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.errors import StateLostError
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.cursor import Cursor, has_gone_back, is_readable
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.decisions.dispatcher import BatchAnswer, BatchItem, DecisionResult, Dispatcher
from kuber_cron.scheduler.decisions.due_queue import DueQueue
from kuber_cron.scheduler.decisions.memory import Memory
from kuber_cron.scheduler.decisions.planner import Boot, CatalogEntry, Decision, Plan
from kuber_cron.scheduler.decisions.prepared import PreparedDecisions
from kuber_cron.scheduler.election.redis_clock import RedisClock
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

# After a decision was not applied, its job is looked at again this soon.
SOON_SECONDS = 0.25
# A job's removal counts once the files have been as they are for this long: replicas see an edit up to two
# minutes apart, and one that does not know a job yet must not forget it for the others.
REMOVAL_SECONDS = 180.0
_SAID_AGAIN = timedelta(seconds=60)
_NEVER = datetime.min.replace(tzinfo=UTC)
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
        on_verdict: Callable[[DecisionResult, Catalog], None],
        removal_seconds: float = REMOVAL_SECONDS,
    ) -> None:
        """``on_verdict`` is told what every applied decision came to."""
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._boot_token = boot_token
        self._on_verdict = on_verdict
        self._removal_seconds = removal_seconds
        self._agenda = DueQueue()
        self._ahead = PreparedDecisions()
        self._cursors: dict[str, str] = {}
        self._memory = Memory()
        self._lost_in = 0  # the epoch in which Redis was found to have lost writes, until that is dealt with
        self._compared_in = 0  # the epoch whose record of the lease has been compared with Redis
        self._farthest = _NEVER
        self._troubled: set[str] = set()
        self._as_of: dict[str, datetime] = {}  # when a job was planned that has to wait for its predecessors
        self._repairing: dict[str, str] = {}
        self._failing: dict[str, tuple[str, datetime]] = {}  # each job's failure as last said, and when
        self._removed: set[str] = set()
        self._dropping: set[str] = set()  # their removal was sent, and not answered yet
        self._boot = Boot(boot_token, is_new=False)
        self._epoch: int | None = None
        self._catalog_version = 0
        self._entries: Mapping[str, CatalogEntry] = {}  # what the appointments were made for
        self.ahead_seconds = 0.0
        """How far the farthest cursor is ahead of Redis' clock, which has stepped back; 0 normally."""

    # --- the term ------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Nothing is believed any more; the cursors are remembered, to notice what Redis may lose."""
        if self._epoch is not None:
            # That a cursor which we have asked to be dropped is gone says nothing, whether the answer came or not.
            known = {job: cursor for job, cursor in self._cursors.items() if job not in self._dropping}
            self._memory = Memory(self._epoch, known, self._dispatcher.through)
        self._dropping.clear()
        self._epoch = None
        self._agenda.clear()
        self._ahead.clear()

    def begin(self, term: Term, catalog: Catalog) -> bool:
        """The term's cursors are known, and every job has an appointment. Returns whether Redis has lost writes.

        Raises:
            RedisUnreachableError, redis.RedisError: Redis did not answer.
            FencedError, StateLostError: The term is over.
        """
        memory = self._memory.at(term)
        lost = self._has_lost(term, memory)
        with self._noting_loss(term):
            self._dispatcher.verify(term, self._clock.now())
        self._cursors = self._dispatcher.cursors()
        remembered = {job: known for job, known in memory.cursors.items() if is_readable(known)}
        rolled_back = [
            job
            for job, known in remembered.items()
            if job in catalog.entries and has_gone_back(self._cursors.get(job, ""), known)
        ]
        if rolled_back:
            log.error("cursors have gone back: redis has lost writes", jobs=len(rolled_back))
            lost = True
        if not memory.epoch:
            self._repairing = {}  # another leader has led since
        if lost:
            self._repairing = {
                job: self._repairing.get(job) or remembered.get(job, "") for job in catalog.entries
            }
        for job, cursor in self._cursors.items():
            if not is_readable(cursor):
                log.error("a cursor cannot be read: the job starts anew", job=job, cursor=cursor)
        stored = text(self._store.client.get(self._store.keys.boot))
        self._note_server()
        # Redis has told all: until here another try begins where this one did.
        self._boot = Boot(self._boot_token, is_new=stored != self._boot_token)
        self._epoch = self._compared_in = term.epoch
        self._memory, self._lost_in = Memory(), 0
        self._entries = {}
        self.reload(catalog)
        log.info("deciding", epoch=term.epoch, jobs=len(catalog.entries))
        return lost

    def _has_lost(self, term: Term, memory: Memory) -> bool:
        """Whether Redis has fewer decisions than the lease's record or we ourselves have seen; from now on its count."""
        recorded = 0 if term.epoch == self._compared_in else term.through
        known = max(recorded, memory.through)
        stored = int(text(self._store.client.hget(self._store.keys.fence, "through")) or 0)
        self._dispatcher.through = stored
        if stored < known:
            log.error("redis has lost decisions", stored=stored, known=known)
        return stored < known or (self._lost_in > 0 and self._lost_in in {term.epoch, term.epoch - 1})

    @contextmanager
    def _noting_loss(self, term: Term) -> Iterator[None]:
        """If Redis turns out to have lost writes, the next term begins with the repair."""
        try:
            yield
        except StateLostError:
            self._lost_in = term.epoch
            raise

    def _note_server(self) -> None:
        """The server's run id is kept in the fence; a new one says that it was restarted, and has been compared."""
        try:
            run_id = text(self._store.client.info("server").get("run_id"))
        except RedisError:
            return
        before = text(self._store.client.hget(self._store.keys.fence, "server"))
        if run_id and run_id != before:
            if before:
                log.warning("redis was restarted since the last term", before=before, now=run_id)
            self._store.client.hset(self._store.keys.fence, "server", run_id)

    def reload(self, catalog: Catalog) -> None:
        """Every job that is not as it was gets an appointment at once; the planner says whether it is really due.

        So does each that waits for others or is waited for: what has changed may be those. The rest keep what they have.
        """
        self._catalog_version = catalog.version
        before, self._entries = self._entries, catalog.entries
        now = self._clock.now()
        if not before:
            self._agenda.clear()
            self._ahead.clear()
            self._troubled.clear()
            self._as_of.clear()
        for job in before.keys() - catalog.entries.keys():
            self._appoint(job, None)
        for job, entry in catalog.entries.items():
            if before.get(job) is not entry or entry.job.after or entry.relations.watched:
                self._appoint(job, now)
        self._removed = self._cursors.keys() - catalog.entries.keys()
        if not before or self._farthest > now:
            known = (cursor for job, cursor in self._cursors.items() if job in catalog.entries)
            self._farthest = max(
                (Cursor.from_text(one).at for one in known if is_readable(one)), default=_NEVER
            )

    def _appoint(self, job: str, at: datetime | None) -> None:
        """The job is planned anew then, as if nothing were known of it but its cursor."""
        self._agenda.put(job, at)
        self._ahead.expect(job, None)
        self._troubled.discard(job)
        self._as_of.pop(job, None)

    # --- one turn ------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int | None:
        """The epoch of the term that is believed in; None after ``forget``."""
        return self._epoch

    def turn(self, term: Term, catalog: Catalog, settled_seconds: float, leads: Callable[[], bool]) -> float:
        """Decide what is due; how many seconds may pass until the next turn.

        Args:
            term: Ours, as the election has just said.
            catalog: The jobs in force.
            settled_seconds: How long the files have been as the catalog has them.
            leads: Whether this is still our term; asked before each batch.

        Raises:
            TermOverError, FencedError, StateLostError, RedisUnreachableError: As ``Dispatcher.apply``; call ``forget``.
        """
        if catalog.version != self._catalog_version:
            self.reload(catalog)
        now = self._clock.now()
        ahead = (self._farthest - now).total_seconds()
        self.ahead_seconds = ahead if ahead >= 1 else 0.0
        following: list[tuple[str, datetime | None]] = []
        items = [*self._due(catalog, now, following), *self._removals(catalog, settled_seconds, now)]
        answers: list[BatchAnswer] = []
        applied: list[DecisionResult] = []
        try:
            with self._noting_loss(term):
                for answer in self._dispatcher.apply(
                    items, term, cursors=self._cursors, leads=leads, now=self._clock.now
                ):
                    answers.append(answer)
                    if not answer.is_applied:
                        self._expect(following)
                        self._take_in_all(answers, applied, catalog)
        finally:
            # What went as it should is taken in and told last, and cannot raise: ten thousand appointments and log
            # lines before and between the batches would make the last ones late.
            self._expect(following)
            self._take_in_all(answers, applied, catalog)
            for verdict in applied:
                self._on_verdict(verdict, catalog)
        if self._boot.is_new and catalog.version and not self._troubled and not self._as_of:
            self._dispatcher.boot_is_over(term, self._boot.token)
            self._boot = Boot(self._boot.token, is_new=False)
        return self._rest(catalog)

    def _due(
        self, catalog: Catalog, now: datetime, following: list[tuple[str, datetime | None]]
    ) -> list[BatchItem]:
        """What is due, ready to be sent. The jobs' next appointments that nobody asks for meanwhile are ``following``."""
        items: list[BatchItem] = []
        soon = now + timedelta(seconds=SOON_SECONDS)
        # Predecessors first, so that a dependent sees whether they are troubled.
        entries = [catalog.entries[job] for job in self._agenda.due(now)]
        entries.sort(key=_rank)
        for entry in entries:
            job = entry.job.id
            if entry.job.after and not self._troubled.isdisjoint(entry.job.after):
                self._troubled.add(job)
                self._agenda.put(job, soon)
                continue
            stored = self._cursors.get(job, "")
            ready = None if job in self._repairing else self._ahead.take(job, stored, now)
            if ready is not None:
                items.append(ready[0])
                following.append((job, ready[1]))
                if entry.relations.watched:
                    self._expect(following)
            else:
                as_of = self._as_of.pop(job, now)
                planned = self._plan(job, catalog, as_of)
                if (wait_until := self._first_open(entry, planned, catalog)) is not None:
                    self._as_of[job] = as_of
                    self._agenda.put(job, wait_until)
                    continue
                items.extend(self._dispatcher.item(decision, entry) for decision in planned.decisions)
                wake_at = planned.wake_at
                if not planned.decisions:
                    self._troubled.discard(job)  # somebody else has decided it, up to its cursor
                following.append((job, wake_at))
                self._expect(following)
        # In instant order over all jobs; predecessors, which came first, stay first at one instant.
        items.sort(key=_first)
        return items

    def _expect(self, following: list[tuple[str, datetime | None]]) -> None:
        for job, at in following:
            self._agenda.put(job, at)
            self._ahead.expect(job, at)
        following.clear()

    def _first_open(self, entry: CatalogEntry, planned: Plan, catalog: Catalog) -> datetime | None:
        """When a predecessor has to be decided first, which is not due yet: an edit decides without any delay."""
        runs = [decision.last for decision in planned.decisions if decision.kind == "queue"]
        for other in entry.job.after if runs else ():
            due = self._agenda.at(other)
            if due is not None and due - catalog.entries[other].delay <= runs[-1]:
                return due
        return None

    def _plan(self, job: str, catalog: Catalog, now: datetime) -> Plan:
        entry = catalog.entries[job]
        stored = self._cursors.get(job, "")
        readable = stored if is_readable(stored) else ""
        if job in self._repairing:
            if repair := planner.plan_repair(entry, readable, self._repairing[job], now):
                # The rest follows once this is applied, and only then what comes after this job.
                self._troubled.add(job)
                return self._replacing(stored, Plan(repair, now))
            del self._repairing[job]
        if entry.schedule.kind == "reboot":
            made = planner.plan_reboot(entry, readable, now, self._boot)
        else:
            made = planner.plan(entry, readable, now)
        return self._replacing(stored, made)

    def _replacing(self, stored: str, made: Plan) -> Plan:
        """An unreadable cursor is replaced by compare-and-set like any other."""
        if not made.decisions or is_readable(stored) or not stored:
            return made
        return Plan((replace(made.decisions[0], believed=stored), *made.decisions[1:]), made.wake_at)

    def _removals(self, catalog: Catalog, settled_seconds: float, now: datetime) -> Iterable[BatchItem]:
        if not self._removed or settled_seconds < self._removal_seconds:
            return
        for job in sorted(self._removed):
            removed_at = min(catalog.loaded_at, now)
            for decision in planner.plan_removal(job, self._cursors.get(job, ""), removed_at, now):
                if decision.kind == "drop":
                    self._dropping.add(job)
                yield self._dispatcher.item(decision, None)
        self._removed = set()

    def _rest(self, catalog: Catalog) -> float:
        """Seconds until something is due; what can be made ready until then is, a little at a time."""
        now = self._clock.now()
        next_at = self._agenda.next_at()
        prepare_at = self._ahead.next_at()
        if prepare_at is not None and prepare_at <= now and (next_at is None or next_at > now):
            for job in self._ahead.to_prepare(now):
                self._prepare(job, catalog)
            return 0.0
        moments = [at for at in (next_at, prepare_at) if at is not None]
        if self._removed:
            moments.append(now + timedelta(seconds=1))
        return max(0.0, (min(moments) - now).total_seconds()) if moments else float("inf")

    def _prepare(self, job: str, catalog: Catalog) -> None:
        entry, stored = catalog.entries[job], self._cursors.get(job, "")
        at = self._agenda.at(job)
        if at is None or not is_readable(stored) or entry.schedule.kind == "reboot":
            return
        planned = planner.plan(entry, stored, at)
        if len(planned.decisions) == 1:
            self._ahead.keep(job, self._dispatcher.item(planned.decisions[0], entry), planned.wake_at)

    # --- answers -------------------------------------------------------------------------------------

    def _take_in_all(
        self, answers: list[BatchAnswer], applied: list[DecisionResult], catalog: Catalog
    ) -> None:
        """Each answer once; what was applied is put on ``applied``."""
        while answers:
            for verdict in answers.pop(0).verdicts():
                if verdict.applied:
                    applied.append(verdict)
                self._take_in(verdict, catalog)

    def _take_in(self, verdict: DecisionResult, catalog: Catalog) -> None:
        decision = verdict.decision
        job = decision.job
        if decision.kind == "drop":
            self._dropping.discard(job)
        if verdict.applied:
            self._troubled.discard(job)
            self._repairing.pop(job, None)
            self._failing.pop(job, None)
            if decision.kind == "drop":
                self._cursors.pop(job, None)
            else:
                self._cursors[job] = decision.cursor
                self._farthest = max(self._farthest, decision.last)
            return
        self._troubled.add(job)
        if job in catalog.entries:
            self._agenda.put(job, self._clock.now() + timedelta(seconds=SOON_SECONDS))
        elif verdict.word == "MOVED" and not verdict.detail:
            self._cursors.pop(job, None)  # another leader has dropped it
            return
        else:
            self._removed.add(job)
        if verdict.word == "MOVED":
            if self._went_back(verdict.detail, decision):
                raise _gone_back(job)
            self._cursors[job] = verdict.detail
        elif verdict.word == "ERROR":
            self._say_failed(decision, verdict.detail)
            # The cursor may stand before or behind it: what Redis holds is read before the next try.
            self._read_cursor(job)
        elif verdict.word == "WAITS" and verdict.detail not in self._troubled:
            # Nothing that we know of is wrong with the predecessor: another leader must have moved it.
            self._read_cursor(verdict.detail)
            self._agenda.put(verdict.detail, self._clock.now())

    def _say_failed(self, decision: Decision, error: str) -> None:
        """It is tried four times a second; the same of one job is said once a minute."""
        said, at = self._failing.get(decision.job, ("", _NEVER))
        now = self._clock.now()
        if error != said or now - at >= _SAID_AGAIN:
            self._failing[decision.job] = error, now
            log.error("a decision failed", job=decision.job, at=decision.last.isoformat(), error=error)

    def _read_cursor(self, job: str) -> None:
        known = self._cursors.get(job, "")
        self._cursors[job] = text(self._store.client.hget(self._store.keys.cursors, job))
        if is_readable(known) and has_gone_back(self._cursors[job], known):
            self._cursors[job] = known
            raise _gone_back(job)

    def _went_back(self, stored: str, decision: Decision) -> bool:
        """Whether Redis' cursor is smaller than one that it has acknowledged to us."""
        known = self._cursors.get(decision.job, "")
        if known != decision.believed or not known:
            return False  # an earlier decision of the same batch was not applied
        return has_gone_back(stored, known)

    def upcoming(self) -> dict[str, datetime]:
        """Each job's next appointment, a copy."""
        return self._agenda.upcoming()


def _gone_back(job: str) -> StateLostError:
    return StateLostError(f"the cursor of job {job} has gone back: Redis has lost writes")
