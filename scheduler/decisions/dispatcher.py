"""The dispatcher: decisions become log entries, cursors and queued runs, in one script call a batch.

One batch is in flight at a time, and the election is asked before each. The reply has the result of each decision;
a lost reply needs no cleverness: the caller reads the cursors again, and what had been applied is
seen as moved.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError

from kuber_cron.common.errors import RedisUnreachableError, TermOverError
from kuber_cron.common.records.history_limits import LOG_LIMIT
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store, Value, pack
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions import run_policy
from kuber_cron.scheduler.decisions.planner import CatalogEntry, Decision
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder, SharedFields, SharedFieldsTable
from kuber_cron.scheduler.decisions.script_replies import refuse, unapplied
from kuber_cron.scheduler.election.term import Term

# At most so many that Redis is never held for more than ~15 ms (spec: reliability.md §4).
BATCH = 200


class ResultWord(StrEnum):
    """The deciding script's words for the result of a decision; ``detail`` is what comes with each.

    As decided, and the cursor is now the decision's: ``QUEUED``, ``HELD``, ``SKIPPED`` (the reason), ``MOVE``, ``DROPPED``,
    ``KNOWN`` (the run existed: its id). Not applied: ``MOVED`` (the cursor was not as believed: what it is), ``WAITS`` (for
    a predecessor that has to be decided first: its id), ``EARLY`` (ahead of Redis' clock, send again), ``BUSY`` (it replaces
    more runs than one call may end: some have ended, send again), ``ERROR`` (why).
    """

    QUEUED = "QUEUED"
    HELD = "HELD"
    SKIPPED = "SKIPPED"
    MOVE = "MOVE"
    DROPPED = "DROPPED"
    KNOWN = "KNOWN"
    MOVED = "MOVED"
    WAITS = "WAITS"
    EARLY = "EARLY"
    BUSY = "BUSY"
    ERROR = "ERROR"


APPLIED: frozenset[str] = frozenset(
    {
        ResultWord.QUEUED,
        ResultWord.HELD,
        ResultWord.SKIPPED,
        ResultWord.MOVE,
        ResultWord.DROPPED,
        ResultWord.KNOWN,
    }
)
"""The results after which the cursor is the decision's."""


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """The script's answer to a decision.

    Attributes:
        word: A ``ResultWord``, as the script has sent it.
        detail: What comes with the word.
        answered_at: When it was applied, by Redis' time: that of its batch's reply.
    """

    decision: Decision
    word: str
    detail: str
    answered_at: datetime

    @property
    def is_applied(self) -> bool:
        """The cursor is now the decision's."""
        return self.word in APPLIED


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A decision ready to be sent.

    Attributes:
        packed: The script's arguments for it, packed; None where they depend on the predecessors' cursors, which
            are only known when it is sent.
        count: How many arguments they are.
        head, policy, fields: What they are made of then.
        shared: The fields of the run's hash that are sent once a batch; the item names them by their number.
    """

    decision: Decision
    count: int
    packed: bytes | None = None
    shared: SharedFields | None = None
    head: tuple[Value, ...] = ()
    policy: Mapping[str, Any] | None = None
    fields: tuple[Value, ...] = ()

    @property
    def has_predecessors(self) -> bool:
        """Other jobs have to be decided before."""
        return self.packed is None

    def wire(self, cursors: Mapping[str, str]) -> bytes:
        """Return the packed arguments, given every job's cursor before this decision."""
        if self.packed is not None:
            return self.packed
        policy = dict(self.policy or {})
        policy["after"] = [[job, cursors.get(job, "")] for job in policy["after"]]
        return _packed(self.head, json.dumps(policy), self.shared, self.fields)


@dataclass(frozen=True, slots=True)
class BatchReply:
    """The script's reply to a batch; read in full only when there is time.

    Attributes:
        at: When it was applied, by Redis' time.
    """

    items: Sequence[BatchItem]
    reply: Sequence[bytes | str]
    at: datetime

    @property
    def is_applied(self) -> bool:
        """Every decision of the batch was applied."""
        return {text(word) for word in set(self.reply[0::2])} <= APPLIED

    def results(self) -> Iterator[DecisionResult]:
        """Yield the result of each decision, in order."""
        for item, word, detail in zip(self.items, self.reply[0::2], self.reply[1::2], strict=True):
            yield DecisionResult(item.decision, text(word), text(detail), self.at)


class Dispatcher:
    """Applies decisions under a term of leadership."""

    def __init__(self, store: Store, builder: RunHashBuilder, *, log_limit: int = LOG_LIMIT) -> None:
        self._store = store
        self._builder = builder
        self._log_limit = log_limit
        self._shared = SharedFieldsTable()
        self.through = 0
        """How many decisions Redis was last known to hold; fewer means that it has lost writes."""

    def cursors(self) -> dict[str, str]:
        """Return every job's cursor as Redis holds it.

        Raises:
            RedisUnreachableError: Redis did not answer.
        """
        return self._by_job(self._store.keys.cursors, "cursors")

    def timings(self) -> dict[str, str]:
        """Return the timing of every job's cursor as Redis holds it.

        Raises:
            RedisUnreachableError: Redis did not answer.
        """
        return self._by_job(self._store.keys.timings, "timings")

    def _by_job(self, key: str, what: str) -> dict[str, str]:
        try:
            found = self._store.client.hgetall(key)
        except RedisError as error:
            raise RedisUnreachableError(f"the {what} could not be read: {error}") from error
        return {text(job): text(value) for job, value in found.items()}

    def verify(self, term: Term, now: datetime) -> None:
        """Raise unless Redis still holds this term and every decision that we know of.

        Raises:
            FencedError, StateLostError, RedisUnreachableError: As ``apply``.
        """
        self._send((), None, term, now)

    def boot_is_over(self, term: Term, token: str) -> None:
        """Mark the boot as done: no later leader decides its ``@reboot`` jobs again.

        Raises:
            FencedError, StateLostError, RedisUnreachableError: As ``apply``.
        """
        try:
            reply = [text(part) for part in self._store.call("mark_boot_done", term.epoch, term.lease, token)]
        except RedisError as error:
            raise unapplied("the end of a boot", error) from error
        refuse(reply, term)

    def item(self, decision: Decision, entry: CatalogEntry | None) -> BatchItem:
        """Return the decision ready to be sent. ``entry`` is its job; only a removed job has none."""
        fields: tuple[Value, ...] = ()
        shared: SharedFields | None = None
        origin = ""
        if decision.kind == "queue":
            if entry is None:
                raise KeyError(decision.job)
            run = self._builder.build(entry.job, decision.first)
            fields, origin, shared = run.own, run.origin, self._shared.of(run.shared)
        if decision.kind in {"move", "complete"}:
            fields = (decision.timing,)
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
        policy = {} if entry is None else run_policy.of_decision(entry, decision)
        count = len(head) + 3 + len(fields)
        if "after" in policy:
            return BatchItem(decision, count, None, shared, head, policy, fields)
        policy_text = json.dumps(policy) if policy else ""
        return BatchItem(decision, count, _packed(head, policy_text, shared, fields), shared)

    def apply(
        self,
        items: Sequence[BatchItem],
        term: Term,
        *,
        cursors: Mapping[str, str],
        leads: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> Iterator[BatchReply]:
        """Apply the decisions in order, batch by batch, yielding the reply to each.

        Args:
            items: What to apply, in this order.
            term: Ours.
            cursors: Every job's cursor before the first of them.
            leads: Called right before each batch; nothing more is sent once it returns False.
            now: Redis' time, for what is written for people.

        Raises:
            TermOverError: ``leads`` returned False; nothing of the batch was sent.
            FencedError: A larger epoch leads; nothing of the batch was applied.
            StateLostError: Redis has lost writes; nothing of the batch was applied.
            RedisUnreachableError: No reply; the cursors show if the batch was applied.
        """
        has_chains = any(item.has_predecessors for item in items)
        believed = dict(cursors) if has_chains else None
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            if not leads():
                raise TermOverError(f"the term of epoch {term.epoch} ended before all was decided")
            reply = self._send(batch, believed, term, now())
            yield BatchReply(batch, reply, now())

    def _send(
        self, batch: Sequence[BatchItem], believed: dict[str, str] | None, term: Term, now: datetime
    ) -> Sequence[bytes | str]:
        shared = {item.shared for item in batch if item.shared is not None}
        head: list[Value] = [
            term.epoch,
            term.lease,
            term.holder,
            self.through,
            rq_instant(now),
            self._log_limit,
            len(batch),
            len(shared),
        ]
        packed = [fields.packed for fields in shared]
        for item in batch:
            packed.append(item.wire(believed or {}))
            if believed is not None:
                believed[item.decision.job] = item.decision.cursor
        count = sum(item.count for item in batch) + sum(fields.count for fields in shared)
        try:
            reply: Sequence[bytes | str] = self._store.call_packed("decide_batch", head, packed, count)
        except RedisError as error:
            raise unapplied("a batch of decisions", error) from error
        refuse([text(part) for part in reply[:3]], term)
        self.through = int(reply[1])
        return reply[2:]


def _packed(
    head: Sequence[Value], policy: str, shared: SharedFields | None, fields: Sequence[Value]
) -> bytes:
    return pack((*head, policy, "" if shared is None else shared.name, len(fields), *fields))
