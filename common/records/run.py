"""The record of a run as Redis has it, for people and programs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kuber_cron.common.records.parsing import Fields, instant, number, seconds_as_instant

RunState = Literal["queued", "held", "running", "waiting", "ended"]
"""``waiting``: between two attempts. ``held``: for a group, a predecessor or an earlier run, in no queue."""

FAILURES = frozenset({"failed", "timed_out", "signalled", "lost", "stopped"})
"""Outcomes that are failures (spec: interface.md, reasons of failures)."""

_STATES: Mapping[str, RunState] = {
    "queued": "queued",
    "deferred": "held",
    "started": "running",
    "scheduled": "waiting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run, without its attempts.

    Attributes:
        run: Its id.
        job: Its job.
        scheduled_at: The instant that it is the run of; for a manual run, when it was asked for.
        is_manual: Whether an operator asked for it, or has asked for it again.
        state: ``queued``, ``held`` (for a group, a predecessor or an earlier run), ``running``, ``waiting`` (between two
            attempts) or ``ended``.
        outcome: How it ended, or how its last attempt did; null before the first has ended.
        queue: Where it is pushed to.
        queued_at: When it was decided, or last queued again.
        started_at: When its last attempt began.
        ended_at: When that ended.
        next_attempt_at: When the next attempt is due, of a waiting run.
        attempt: How many attempts have begun.
        retries: How many of them were its policy's.
        lost: How many were lost with their worker.
        interrupted: How many were interrupted by a worker that drained.
        worker: Where it runs, or ran last.
        execution: What names the running attempt.
        group: The group that it counts in.
        stop: Why it is to stop, if it is.
        requested_by: The operator who asked for it, of a manual run.
        stopped_by: The operator who stopped it.
    """

    run: str
    job: str
    scheduled_at: datetime | None = None
    is_manual: bool = False
    state: RunState
    outcome: str | None = None
    queue: str = "default"
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    next_attempt_at: datetime | None = None
    attempt: int = 0
    retries: int = 0
    lost: int = 0
    interrupted: int = 0
    worker: str | None = None
    execution: str | None = None
    group: str | None = None
    stop: str | None = None
    requested_by: str | None = None
    stopped_by: str | None = None

    @property
    def is_failure(self) -> bool:
        """True if the run has ended in one of the failures."""
        return self.state == "ended" and self.outcome in FAILURES

    @property
    def seconds(self) -> float | None:
        """The duration of its last attempt, where that is over."""
        if self.started_at is None or self.ended_at is None or self.state == "running":
            return None
        return max(0.0, (self.ended_at - self.started_at).total_seconds())

    @classmethod
    def from_fields(
        cls, run: str, fields: Fields, next_attempt_at: datetime | None = None
    ) -> "RunRecord | None":
        """Return the run of these fields of its hash; None where they are none of ours."""
        job, status = fields.get("job", ""), fields.get("status", "")
        if not job or not status:
            return None
        state = _STATES.get(status, "ended")
        return cls(
            run=run,
            job=job,
            scheduled_at=seconds_as_instant(fields.get("at")),
            is_manual=bool(fields.get("manual") or fields.get("who")),
            state=state,
            outcome=fields.get("outcome") or (_outcome_of_status(status) if state == "ended" else None),
            queue=fields.get("origin") or "default",
            queued_at=instant(fields.get("enqueued_at")),
            started_at=instant(fields.get("started_at")),
            ended_at=instant(fields.get("ended_at")),
            next_attempt_at=next_attempt_at if state == "waiting" else None,
            attempt=number(fields.get("attempt")),
            retries=number(fields.get("retried")),
            lost=number(fields.get("lost")),
            interrupted=number(fields.get("interrupted")),
            worker=fields.get("worker_name") or None,
            execution=fields.get("execution") or None,
            group=fields.get("group") or None,
            stop=fields.get("stop") or None,
            requested_by=fields.get("who") or None,
            stopped_by=fields.get("stopped_by") or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate: one of the things that a held run waits for.

    Attributes:
        run: The other run.
        kind: ``after``: its success; ``line``: its end, however that is.
        state: How it stands now, in words.
    """

    run: str
    kind: Literal["after", "line"]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The group that a held run waits for room in.

    Attributes:
        name: Its name.
        limit: How many of its runs may run at once.
        running: Those that run.
        place: The run's place in its line, from 1.
    """

    name: str
    limit: int
    running: tuple[str, ...]
    place: int


RUN_FIELDS = (
    "job", "status", "at", "manual", "outcome", "origin", "enqueued_at", "started_at", "ended_at", "attempt",
    "retried", "lost", "interrupted", "worker_name", "execution", "group", "stop", "who",
    "stopped_by",
)  # fmt: skip
"""The fields of a run's hash that its record is made from: the payload beside them is many times as long."""


def _outcome_of_status(status: str) -> str:
    """Return the outcome of a run whose status is RQ's own word, because another tool ended it."""
    return {"finished": "success", "canceled": "removed", "stopped": "stopped"}.get(status, "failed")
