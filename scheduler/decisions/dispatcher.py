"""Dispatch: decisions become log entries, cursors and queued runs, in one script call a batch.

One batch is in flight at a time, and the election is asked before each. The answer says what each decision
came to; a lost answer needs no cleverness: the caller reads the cursors again, and what had been applied is
seen as moved.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError, ResponseError

from kuber_cron.common.errors import FencedError, RedisUnreachableError, StateLostError, TermOverError
from kuber_cron.common.records.history_limits import LOG_LIMIT
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store, Value, pack, rq_instant
from kuber_cron.scheduler.decisions.planner import CatalogEntry, Decision
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.decisions.shapes import SharedFields, SharedFieldsTable
from kuber_cron.scheduler.election.term import Term

# So many that Redis is never held for more than ~15 ms (spec: reliability.md §4).
BATCH = 200
APPLIED = frozenset({"QUEUED", "HELD", "SKIPPED", "MOVE", "DROPPED", "KNOWN"})
"""The verdicts after which the cursor is the decision's."""


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """What a decision came to.

    Attributes:
        word: QUEUED, HELD, SKIPPED, MOVE, DROPPED, KNOWN as decided; MOVED (the cursor was not what we believed;
            ``detail`` is what it is), WAITS (the predecessor ``detail`` has to be decided first), EARLY (ahead of
            Redis' clock, send again), ERROR (``detail`` says why).
        answered_at: When it was applied, by Redis' time: that of its batch's answer.
    """

    decision: Decision
    word: str
    detail: str
    answered_at: datetime

    @property
    def applied(self) -> bool:
        """Whether the cursor is now the decision's."""
        return self.word in APPLIED


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A decision ready to be sent.

    Attributes:
        packed: The script's arguments for it, packed; None where they depend on the predecessors' cursors, which
            are only known when it is sent.
        count: How many arguments they are.
        head, policy, fields: What they are made of then.
        shape: The part of the run's hash that is sent once a batch, packed; the item names it by its number.
    """

    decision: Decision
    count: int
    packed: bytes | None = None
    shape: SharedFields | None = None
    head: tuple[Value, ...] = ()
    policy: Mapping[str, Any] | None = None
    fields: tuple[Value, ...] = ()

    @property
    def has_predecessors(self) -> bool:
        """Whether other jobs have to be decided before."""
        return self.packed is None

    def wire(self, cursors: Mapping[str, str]) -> bytes:
        """The packed arguments, given every job's cursor at its turn."""
        if self.packed is not None:
            return self.packed
        policy = dict(self.policy or {})
        policy["after"] = [[job, cursors.get(job, "")] for job in policy["after"]]
        return _packed(self.head, json.dumps(policy), self.shape, self.fields)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What a batch came to; read in full only by who has the time.

    Attributes:
        at: When it was applied, by Redis' time.
    """

    items: Sequence[BatchItem]
    reply: Sequence[bytes | str]
    at: datetime

    @property
    def is_applied(self) -> bool:
        """Whether every decision of the batch was."""
        return {text(word) for word in set(self.reply[0::2])} <= APPLIED

    def verdicts(self) -> Iterator[DecisionResult]:
        """What each decision came to, in order."""
        for item, word, detail in zip(self.items, self.reply[0::2], self.reply[1::2], strict=True):
            yield DecisionResult(item.decision, text(word), text(detail), self.at)


class Dispatcher:
    """Applies decisions under a term of leadership."""

    def __init__(self, store: Store, builder: RunHashBuilder, *, log_limit: int = LOG_LIMIT) -> None:
        self._store = store
        self._builder = builder
        self._log_limit = log_limit
        self._shapes = SharedFieldsTable()
        self.through = 0
        """How many decisions Redis was last known to hold; fewer means that it has lost writes."""

    def cursors(self) -> dict[str, str]:
        """Every job's cursor as Redis holds it.

        Raises:
            RedisUnreachableError: Redis did not answer.
        """
        try:
            found = self._store.client.hgetall(self._store.keys.cursors)
        except RedisError as error:
            raise RedisUnreachableError(f"the cursors could not be read: {error}") from error
        return {text(job): text(cursor) for job, cursor in found.items()}

    def verify(self, term: Term, now: datetime) -> None:
        """Redis still holds this term and every decision that we know of.

        Raises:
            FencedError, StateLostError, RedisUnreachableError: As ``apply``.
        """
        self._send((), None, term, now)

    def boot_is_over(self, term: Term, token: str) -> None:
        """No later leader decides the ``@reboot`` jobs of this boot again.

        Raises:
            FencedError, StateLostError, RedisUnreachableError: As ``apply``.
        """
        try:
            reply = [text(part) for part in self._store.call("boot", term.epoch, term.lease, token)]
        except RedisError as error:
            raise _unapplied("the end of a boot", error) from error
        refuse(reply, term)

    def item(self, decision: Decision, entry: CatalogEntry | None) -> BatchItem:
        """The decision ready to be sent. ``entry`` is its job; only a removed job has none."""
        fields: tuple[Value, ...] = ()
        shape: SharedFields | None = None
        origin = ""
        if decision.kind == "queue":
            if entry is None:
                raise KeyError(decision.job)
            record = self._builder.record(entry.job, decision.first)
            fields, origin, shape = record.own, record.origin, self._shapes.of(record.shape)
        head = (
            decision.kind,
            decision.job,
            decision.believed,
            decision.cursor,
            int(decision.first.timestamp()),
            int(decision.last.timestamp()),
            decision.count,
            decision.reason,
            decision.run,
            origin,
        )
        policy = {} if entry is None else policy_of(entry, decision)
        count = len(head) + 3 + len(fields)
        if "after" in policy:
            return BatchItem(decision, count, None, shape, head, policy, fields)
        told = json.dumps(policy) if policy else ""
        return BatchItem(decision, count, _packed(head, told, shape, fields), shape)

    def apply(
        self,
        items: Sequence[BatchItem],
        term: Term,
        *,
        cursors: Mapping[str, str],
        leads: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> Iterator[BatchAnswer]:
        """Apply the decisions in order, batch by batch, yielding what each batch came to.

        Args:
            items: What to apply, in this order.
            term: Ours.
            cursors: Every job's cursor before the first of them.
            leads: Asked right before each batch; nothing more is sent once it says no.
            now: Redis' time, for what is written for people.

        Raises:
            TermOverError: ``leads`` said no; nothing of the batch was sent.
            FencedError: A larger epoch leads; nothing of the batch was applied.
            StateLostError: Redis has lost writes; nothing of the batch was applied.
            RedisUnreachableError: No answer; whether the batch was applied is known from the cursors.
        """
        has_chains = any(item.has_predecessors for item in items)
        believed = dict(cursors) if has_chains else None
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            if not leads():
                raise TermOverError(f"the term of epoch {term.epoch} ended before all was decided")
            reply = self._send(batch, believed, term, now())
            yield BatchAnswer(batch, reply, now())

    def _send(
        self, batch: Sequence[BatchItem], believed: dict[str, str] | None, term: Term, now: datetime
    ) -> Sequence[bytes | str]:
        shapes = {item.shape for item in batch if item.shape is not None}
        head: list[Value] = [
            term.epoch,
            term.lease,
            term.holder,
            self.through,
            rq_instant(now),
            self._log_limit,
            len(batch),
            len(shapes),
        ]
        packed = [shape.packed for shape in shapes]
        for item in batch:
            packed.append(item.wire(believed or {}))
            if believed is not None:
                believed[item.decision.job] = item.decision.cursor
        count = sum(item.count for item in batch) + sum(shape.count for shape in shapes)
        try:
            reply: Sequence[bytes | str] = self._store.call_packed("decide", head, packed, count)
        except RedisError as error:
            raise _unapplied("a batch of decisions", error) from error
        refuse([text(part) for part in reply[:3]], term)
        self.through = int(reply[1])
        return reply[2:]


def _packed(head: Sequence[Value], policy: str, shape: SharedFields | None, fields: Sequence[Value]) -> bytes:
    return pack((*head, policy, "" if shape is None else shape.name, len(fields), *fields))


def _unapplied(what: str, error: RedisError) -> RedisUnreachableError:
    if isinstance(error, ResponseError):
        return RedisUnreachableError(f"Redis has refused {what}: {error}")
    return RedisUnreachableError(f"{what} got no answer: {error}")


def refuse(reply: Sequence[str], term: Term) -> None:
    """Raise what a script's answer means for the term, if it is a refusal.

    Raises:
        FencedError, StateLostError: It is one.
    """
    match reply[:3]:
        case ["FENCED", "lease", _]:
            raise FencedError(f"epoch {term.epoch} is fenced: the lease's key in Redis is not its own")
        case ["FENCED", _, stored]:
            raise FencedError(f"epoch {term.epoch} is fenced by epoch {stored}")
        case ["LOST", "through", stored]:
            raise StateLostError(f"Redis counts {stored} decisions, this leader knows more: writes were lost")
        case ["LOST", _, stored]:
            raise StateLostError(
                f"Redis holds epoch {stored or 'none'}, this leader has epoch {term.epoch}: writes were lost"
            )


def policy_of(entry: CatalogEntry, decision: Decision) -> dict[str, Any]:
    """What the script must heed for a decision of this job beyond its cursor."""
    job = entry.job
    policy: dict[str, Any] = {"watched": True} if entry.relations.watched else {}
    if decision.kind == "queue":
        policy |= _policy_of_runs(entry)
        if job.after:
            policy["after"] = job.after
        if job.deadline is not None:
            policy["deadline"] = decision.due_at.timestamp() + job.deadline
    return policy


def policy_by_hand(entry: CatalogEntry) -> dict[str, Any]:
    """The same for a run that somebody asked for: it has no deadline and no predecessors."""
    return _policy_of_runs(entry) | ({"suspended": True} if entry.job.suspend else {})


def _policy_of_runs(entry: CatalogEntry) -> dict[str, Any]:
    job, policy = entry.job, dict[str, Any]()
    if job.concurrency != "allow":
        policy |= {"concurrency": job.concurrency, "max_running": job.max_running}
    if entry.relations.group is not None:
        policy["group"], policy["limit"] = entry.relations.group
    if job.priority == "high":
        policy["front"] = True
    return policy
