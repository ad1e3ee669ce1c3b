"""Dispatch: decisions become log entries, cursors and queued runs, in one script call a batch.

One batch is in flight at a time. The answer says what each decision came to; a lost answer needs no
cleverness: the caller reads the cursors again, and what had been applied is seen as moved.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from redis.exceptions import RedisError

from kuber_cron.common.errors import FencedError, RedisUnreachableError, StateLostError
from kuber_cron.common.store import LOG_LIMIT, Store, text
from kuber_cron.scheduler.cursors import Cursor
from kuber_cron.scheduler.payloads import Builder, Record, Value
from kuber_cron.scheduler.planner import Decision, Entry
from kuber_cron.scheduler.terms import Term

# So many that Redis is never held for more than ~15 ms (spec: reliability.md §4).
BATCH = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a decision came to.

    Attributes:
        word: QUEUED, SKIPPED, MOVE, DROPPED, KNOWN as decided; MOVED (the cursor was not what we believed;
            ``detail`` is what it is), EARLY (ahead of Redis' clock, send again), ERROR (``detail`` says why).
    """

    decision: Decision
    word: str
    detail: str

    @property
    def applied(self) -> bool:
        """Whether the cursor is now the decision's."""
        return self.word in {"QUEUED", "SKIPPED", "MOVE", "DROPPED", "KNOWN"}


class Dispatcher:
    """Applies decisions under a term of leadership."""

    def __init__(self, store: Store, builder: Builder) -> None:
        self._store = store
        self._builder = builder

    def cursors(self) -> dict[str, str]:
        """Every job's cursor as Redis holds it.

        Raises:
            RedisUnreachableError: Redis did not answer.
        """
        try:
            found = self._store.client.hgetall(self._store.keys.own("cursor"))
        except RedisError as error:
            raise RedisUnreachableError(f"the cursors could not be read: {error}") from error
        return {text(job): text(cursor) for job, cursor in found.items()}

    def apply(
        self, decisions: Sequence[Decision], entries: Mapping[str, Entry], term: Term
    ) -> Iterator[Verdict]:
        """Apply the decisions in order, batch by batch, yielding what each came to.

        Raises:
            FencedError: A larger epoch leads; nothing of the batch was applied.
            StateLostError: Redis knows no such epoch; nothing of the batch was applied.
            RedisUnreachableError: No answer; whether the batch was applied is known from the cursors.
        """
        for batch in _batches(decisions):
            args: list[Value] = [term.epoch, term.lease, LOG_LIMIT, len(batch)]
            for decision in batch:
                args.extend(self._encode(decision, entries.get(decision.job)))
            try:
                reply = [text(part) for part in self._store.call("decide", *args)]
            except RedisError as error:
                raise RedisUnreachableError(f"a batch of decisions got no answer: {error}") from error
            if reply[0] == "FENCED":
                raise FencedError(f"epoch {term.epoch} is fenced by epoch {reply[1]}")
            if reply[0] == "LOST":
                raise StateLostError(
                    f"Redis knows epoch {reply[1] or 'none'}, this leader has {term.epoch}: writes were lost"
                )
            for decision, word, detail in zip(batch, reply[1::2], reply[2::2], strict=True):
                yield Verdict(decision, word, detail)

    def _encode(self, decision: Decision, entry: Entry | None) -> list[Value]:
        record = _NO_RECORD
        concurrency = ""
        if decision.kind == "queue":
            if entry is None:
                raise KeyError(decision.job)
            record = self._builder.record(entry.job, decision.first, decision.due_at)
            concurrency = entry.job.concurrency
        return [
            decision.kind,
            decision.job,
            decision.believed,
            decision.cursor,
            int(decision.first.timestamp()),
            int(decision.last.timestamp()),
            decision.count,
            decision.reason,
            decision.run,
            record.origin,
            int(record.front),
            concurrency,
            len(record.fields),
            *record.fields,
        ]


_NO_RECORD = Record("", "", False, ())


def _batches(decisions: Iterable[Decision]) -> Iterator[list[Decision]]:
    remaining = iter(decisions)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def is_readable(cursor: str) -> bool:
    """Whether a stored cursor was written by us; anything else is a fault to be named, not to be parsed."""
    try:
        Cursor.from_text(cursor)
    except (ValueError, OverflowError, OSError):
        return False
    return True
