"""The worker's book-keeping in Redis: claim, start, heartbeat, end; one script each (spec: reliability.md §6).

Every call may be repeated after a lost answer: start and end give their first answer again for the same
execution id, a claim that was moved stays in this worker's own claim list until it is started or returned.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from redis import Redis

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.retry_policy import SpentBudgets
from kuber_cron.common.time_format import parse_or_none, rq_instant

EndAction = Literal["finish", "fail", "stop", "retry", "requeue", "return", "quarantine"]
HeartbeatReply = Literal["OK", "GONE", "STOP"]
HELD = "held: its group"
_OVER = frozenset({"finished", "failed", "stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An attempt that is ours.

    Attributes:
        attempt: 1 for the first.
        recovered: Whether the attempt before it was lost or interrupted.
        data: RQ's ``data`` field, unread.
        spent: What the run's earlier attempts have used up.
        queued_at: When it was queued, for the start latency; None if nobody said so.
    """

    attempt: int
    recovered: bool
    data: bytes
    spent: SpentBudgets
    queued_at: datetime | None


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why a claimed run was not started; ``reason`` is set where it went to quarantine."""

    text: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How an attempt's end is to be recorded.

    Attributes:
        action: What becomes of the run.
        outcome: The attempt's outcome; for ``requeue`` the account that pays, ``lost`` or ``interrupted``.
        delay_seconds: For ``retry``: how long to wait.
        spends_retry: Whether it uses up one of the run's retries.
        duration_seconds: How long the command ran; None if it never did.
        note: For ``quarantine``: the record, as JSON.
        result: RQ's result entry, as name and value pairs.
    """

    action: EndAction
    outcome: str
    ended_at: datetime
    delay_seconds: float = 0.0
    spends_retry: bool = False
    duration_seconds: float | None = None
    note: str = ""
    result: Sequence[str | int | float]


class RunStore:
    """One worker's entries. ``client`` has no retries of its own where an answer matters (the service's choice)."""

    def __init__(self, store: Store, *, worker: str, ttl_seconds: float) -> None:
        self._store = store
        self._worker = worker
        self._ttl_ms = int(ttl_seconds * 1000)
        self._claims = store.keys.claims(worker)

    def announce(self, now: datetime) -> None:
        """The worker is alive and may have claims; to be called before the first claim."""
        self.beat((), now)

    def retire(self) -> None:
        """Nothing is claimed any more, and what was not started is back in its queue."""
        self._store.call("deregister_worker", self._worker)

    def unstarted(self) -> list[str]:
        """What lies in the claim list, newest first; also what an unanswered claim has moved there."""
        return [text(run) for run in reversed(self._store.client.lrange(self._claims, 0, -1))]

    def claim(self, queues: Sequence[str], count: int) -> list[str]:
        """Up to ``count`` runs, the first queue's first; none if all are empty."""
        return [text(run) for run in self._store.call("claim_runs", self._claims, count, *queues)]

    def await_claim(self, waiting: "Redis", queue: str, seconds: float) -> list[str]:
        """Wait on one queue for up to ``seconds``, on a connection whose time-out is longer than that."""
        run = waiting.blmove(
            self._store.keys.queue(queue),
            self._claims,
            seconds,  # type: ignore[arg-type] # Redis takes fractions, redis-py's type does not say so
            "LEFT",
            "RIGHT",
        )
        return [text(run)] if run is not None else []

    def start(self, run: str, execution: str, now: datetime) -> Started | NotStarted:
        """The attempt is ours and counted; or why it was not started."""
        reply = self._store.call(
            "start_attempt",
            run,
            execution,
            self._worker,
            self._ttl_ms,
            rq_instant(now),
            now.timestamp(),
            self._claims,
        )
        if reply[0] == b"DROPPED":
            return NotStarted(text(reply[1]))
        if reply[0] == b"HELD":
            return NotStarted(f"{HELD} {text(reply[1])} has no room")
        if reply[0] == b"QUARANTINED":
            return NotStarted(text(reply[1]), "malformed")
        _, attempt, recovered, data, retried, lost, interrupted, queued = reply
        return Started(
            attempt=int(attempt),
            recovered=bool(recovered),
            data=data,
            spent=SpentBudgets(retries=int(retried), lost=int(lost), interrupted=int(interrupted)),
            queued_at=parse_or_none(text(queued)),
        )

    def end(self, run: str, execution: str, ending: AttemptEnd) -> str:
        """The script's word: ``DONE``, ``STOPPED``, ``RECOVERED``, ``REPEATED`` or ``LATE``.

        STOPPED is over instead of attempted again, RECOVERED a success after a failure, REPEATED had been recorded.
        """
        reply = self._store.call(
            "end_attempt",
            run,
            execution,
            self._worker,
            ending.action,
            ending.outcome,
            rq_instant(ending.ended_at),
            ending.ended_at.timestamp(),
            "" if ending.duration_seconds is None else ending.duration_seconds,
            int(ending.delay_seconds * 1000),
            int(ending.spends_retry),
            ending.note,
            *ending.result,
        )
        return text(reply)

    def outcome_if_over(self, run: str, execution: str) -> str | None:
        """The run's outcome if it ended for good with this execution, as Redis has it; None if it goes on."""
        fields = ("status", "outcome", "ended_execution")
        status, outcome, last = (
            text(value) for value in self._store.client.hmget(self._store.keys.run(run), *fields)
        )
        return outcome if last == execution and status in _OVER else None

    def executions(self, run: str, *, lost: bool = False) -> list[str]:
        """The run's executions that have ended; ``lost``: only those whose end no worker has seen."""
        entries: Any = self._store.client.xrange(self._store.keys.results(run))
        # What a worker tells of an attempt's end has a value; the leader's entry of a loss has none.
        return [
            text(fields[b"execution_id"])
            for _, fields in entries
            if b"execution_id" in fields and not (lost and b"return_value" in fields)
        ]

    def beat(self, running: Iterable[tuple[str, str]], now: datetime) -> list[HeartbeatReply]:
        """One heartbeat for the worker and these (run, execution) pairs; what each of them is told."""
        pairs = [part for pair in running for part in pair]
        reply = self._store.call(
            "heartbeat", self._worker, self._ttl_ms, rq_instant(now), now.timestamp(), *pairs
        )
        return [_pulse(text(word)) for word in reply]


def _pulse(word: str) -> HeartbeatReply:
    match word:
        case "OK" | "GONE" | "STOP":
            return word
        case _:
            raise ValueError(f"heartbeat.lua answered {word!r}")
