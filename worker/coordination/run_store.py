"""The worker's view of Redis: claim, start, heartbeat and end of runs, one script each (spec: reliability.md §6).

Every call may be repeated after a lost answer: start and end give their first answer again for the same execution id,
and a run that a claim has moved stays in this worker's own claim list until it is started or returned.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from redis import Redis

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.retry_policy import SpentBudgets
from kuber_cron.common.time_format import parse_or_none, rq_instant

EndAction = Literal["finish", "fail", "stop", "retry", "requeue", "return", "quarantine"]
"""The next state of a run whose attempt has ended. ``return``: back to its queue, as if it had not been claimed."""

_FINAL_STATUSES = frozenset({"finished", "failed", "stopped"})


class HeartbeatReply(enum.StrEnum):
    """The heartbeat script's answer for one attempt."""

    OK = "OK"
    GONE = "GONE"
    """The attempt is not this worker's any more."""
    ABSENT = "ABSENT"
    """The run has no record: somebody deleted it, or Redis has lost it."""
    STOP = "STOP"
    """An operator or a newer run has asked for its end."""


class EndReply(enum.StrEnum):
    """The end script's answer."""

    DONE = "DONE"
    STOPPED = "STOPPED"
    """The run has ended, instead of being attempted again: its stop had been asked for."""
    RECOVERED = "RECOVERED"
    """A success after the job's previous run had failed."""
    REPEATED = "REPEATED"
    """The end had been recorded already, by an earlier call."""
    LATE = "LATE"
    """The attempt was not this worker's any more; nothing was recorded."""


class Refusal(enum.StrEnum):
    """Why a claimed run was not started."""

    DROPPED = "DROPPED"
    """Deleted, ended or taken meanwhile."""
    HELD = "HELD"
    """Its group has no room: the run is held."""
    QUARANTINED = "QUARANTINED"
    """Its record in Redis cannot be read: the run is in quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStart:
    """An attempt that the start script has given to this worker.

    Attributes:
        attempt: 1 for the first.
        recovered: Whether the attempt before it was lost or interrupted.
        data: RQ's ``data`` field, unread.
        spent: What the run's earlier attempts have used up.
        queued_at: When the run was queued, for the start latency; None where Redis does not have it.
        count: The worker's count of heartbeats and starts, with this one.
    """

    attempt: int
    recovered: bool
    data: bytes
    spent: SpentBudgets
    queued_at: datetime | None
    count: int = 0


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The start script's refusal, and a sentence for the log."""

    refusal: Refusal
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """The end of an attempt, as the end script is to record it.

    Attributes:
        action: What becomes of the run.
        outcome: The attempt's outcome; for ``requeue`` the account that pays, ``lost`` or ``interrupted``.
        ended_at: When it ended, aware UTC.
        delay_seconds: For ``retry``: the backoff.
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
    """One worker's runs in Redis. ``client`` has no retries of its own where an answer matters (the service's choice)."""

    def __init__(self, store: Store, *, worker: str, ttl_seconds: float) -> None:
        self._store = store
        self._worker = worker
        self._ttl_ms = int(ttl_seconds * 1000)
        self._claims = store.keys.claims(worker)

    @property
    def client(self) -> "Redis":
        """The client on which all of this is sent."""
        return self._store.client

    @property
    def probe(self) -> tuple[str | int, ...]:
        """A write that changes nothing which matters, and that is refused as a heartbeat's are."""
        return ("SET", self._store.keys.alive(self._worker), "probe", "PX", self._ttl_ms)

    def measure_time(self, clock: RedisClock) -> None:
        """Ask Redis for its time, and put the clock right by it."""
        sent = clock.elapsed()
        seconds, microseconds = self._store.client.time()
        clock.measured(sent, clock.elapsed(), float(seconds) + float(microseconds) / 1e6)

    def register(self, now: datetime) -> None:
        """Enter the worker among those that may have claims; to be called before the first claim."""
        self.heartbeat((), now)

    def deregister(self) -> None:
        """Remove the worker, and return to its queue what it has claimed and not started."""
        self._store.call("deregister_worker", self._worker)

    def return_claims(self) -> list[str]:
        """Return to the heads of their queues what is claimed and not started, in its old order."""
        return [text(run) for run in self._store.call("return_claims", self._worker)]

    def heads(self, queues: Sequence[str]) -> list[tuple[str, bytes]]:
        """Return the first run of each of these queues that has one, with RQ's ``data`` field of it, unread."""
        client, keys = self._store.client, self._store.keys
        with client.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.lindex(keys.queue(queue), 0)
            runs = [text(run) for run in pipe.execute() if run is not None]
        with client.pipeline(transaction=False) as pipe:
            for run in runs:
                pipe.hget(keys.run(run), "data")
            found = pipe.execute(raise_on_error=False)
        return [(run, data) for run, data in zip(runs, found, strict=True) if isinstance(data, bytes)]

    def has_able_others(self, queue: str, *, refusing: str = "") -> bool:
        """Return True where another live worker of the queue may take what this one cannot start.

        ``refusing``: a run that this worker refuses from now on; who has refused it too is no such worker.
        """
        return int(self._store.call("able_others", self._worker, queue, refusing)) > 0

    def claimed_runs(self) -> list[str]:
        """Return the claim list, newest first; what an unanswered claim has moved there is in it."""
        return [text(run) for run in reversed(self._store.client.lrange(self._claims, 0, -1))]

    def claim(self, queues: Sequence[str], count: int) -> list[str]:
        """Claim at most ``count`` runs, the first queue's first; none if all are empty."""
        return [text(run) for run in self._store.call("claim_runs", self._claims, count, *queues)]

    def await_claim(self, client: "Redis", queue: str, seconds: float) -> list[str]:
        """Wait at most ``seconds`` for a run of one queue, on a connection whose time-out is longer than that."""
        run = client.blmove(
            self._store.keys.queue(queue),
            self._claims,
            seconds,  # type: ignore[arg-type] # Redis takes fractions, redis-py's type does not say so
            "LEFT",
            "RIGHT",
        )
        return [text(run)] if run is not None else []

    def start(self, run: str, execution: str, now: datetime) -> AttemptStart | NotStarted:
        """Count an attempt and make it this worker's, or return why it was not started."""
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
        if reply[0] != b"STARTED":
            refusal, about = Refusal(text(reply[0])), text(reply[1])
            return NotStarted(
                refusal, f"held: its group {about} has no room" if refusal is Refusal.HELD else about
            )
        _, attempt, recovered, data, retried, lost, interrupted, queued, count = reply
        return AttemptStart(
            attempt=int(attempt),
            recovered=bool(recovered),
            data=data,
            spent=SpentBudgets(retries=int(retried), lost=int(lost), interrupted=int(interrupted)),
            queued_at=parse_or_none(text(queued)),
            count=int(count),
        )

    def end(self, run: str, execution: str, end: AttemptEnd) -> EndReply:
        """Record an attempt's end, and what becomes of the run."""
        reply = self._store.call(
            "end_attempt",
            run,
            execution,
            self._worker,
            end.action,
            end.outcome,
            rq_instant(end.ended_at),
            end.ended_at.timestamp(),
            "" if end.duration_seconds is None else end.duration_seconds,
            int(end.delay_seconds * 1000),
            int(end.spends_retry),
            end.note,
            *end.result,
        )
        return EndReply(text(reply))

    def outcome_if_ended(self, run: str, execution: str) -> str | None:
        """Return the run's outcome if it has ended for good with this execution, None if it goes on."""
        fields = ("status", "outcome", "ended_execution")
        status, outcome, last = (
            text(value) for value in self._store.client.hmget(self._store.keys.run(run), *fields)
        )
        return outcome if last == execution and status in _FINAL_STATUSES else None

    def ended_executions(self, run: str, *, lost: bool = False) -> list[str]:
        """Return the run's executions that have ended; ``lost``: only those whose end no worker has seen."""
        entries: Any = self._store.client.xrange(self._store.keys.results(run))
        # A worker's entry of an attempt's end has a value; the leader's entry of a loss has none.
        return [
            text(fields[b"execution_id"])
            for _, fields in entries
            if b"execution_id" in fields and not (lost and b"return_value" in fields)
        ]

    def heartbeat(
        self, running: Iterable[tuple[str, str]], now: datetime
    ) -> tuple[int, list[HeartbeatReply]]:
        """Refresh the worker and these (run, execution) pairs.

        Returns:
            The worker's count of heartbeats as Redis has it, and the reply for each pair, in order.
        """
        pairs = [part for pair in running for part in pair]
        reply = self._store.call(
            "heartbeat", self._worker, self._ttl_ms, rq_instant(now), now.timestamp(), *pairs
        )
        return int(reply[0]), [HeartbeatReply(text(word)) for word in reply[1:]]
