"""The decision log: the entries of a job, as the scripts write them (common/redis_store/lua/lib/decision_log.lua). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kuber_cron.common.records.parsing import Fields, number, seconds_as_instant
from kuber_cron.common.runs.run_id import is_manual_run

OCCURRENCES = frozenset({"queued", "held", "skipped", "known", "error"})
"""The decisions on occurrences. All others record what became of a run, or that the cursor was moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of a job's log.

    Attributes:
        decided_at: When it was written, by Redis' time.
        decision: ``queued``, ``held``, ``skipped``, ``known`` (the run existed) and ``error`` decide instants; ``released``,
            ``ended``, ``requeued`` and ``forgotten`` (Redis had lost the run; its attempt ended so) record what became of a run; ``moved`` and ``dropped``, of the job itself. There may be
            more words for what people do.
        reason: Why nothing was queued, why a run ended, or why the cursor was moved; may be empty.
        first_at: The instant, or the first of several.
        last_at: The last of them.
        count: How many they are; a lower bound where a very long gap was closed in one step.
        run: The run that it is about, or empty.
        epoch: The term of leadership that it was written in.
        by: Who wrote it: the leader, or a worker.
        who: The person behind it, or null.
    """

    decided_at: datetime
    decision: str
    reason: str = ""
    first_at: datetime
    last_at: datetime
    count: int = 1
    run: str = ""
    epoch: int = 0
    by: str = ""
    who: str | None = None

    @property
    def is_manual(self) -> bool:
        """The entry is about a manual run, which is no instant of the schedule."""
        return is_manual_run(self.run)

    @property
    def is_occurrence(self) -> bool:
        """True if the entry decides occurrences; a manual run is none."""
        return self.decision in OCCURRENCES and not self.is_manual

    def covers(self, at: datetime) -> bool:
        """Return True if the instant lies within the entry's span."""
        return self.first_at <= at <= self.last_at

    @classmethod
    def from_fields(cls, entry: str, fields: Fields) -> "LogEntry | None":
        """Return the entry of a stream; None where it is none of ours."""
        first = seconds_as_instant(fields.get("first"))
        if first is None or "decision" not in fields:
            return None
        return cls(
            decided_at=datetime.fromtimestamp(number(entry.partition("-")[0]) / 1000, UTC),
            decision=fields["decision"],
            reason=fields.get("reason", ""),
            first_at=first,
            last_at=seconds_as_instant(fields.get("last")) or first,
            count=number(fields.get("count")) or 1,
            run=fields.get("run", ""),
            epoch=number(fields.get("epoch")),
            by=fields.get("by", ""),
            who=fields.get("who") or None,
        )


def deciding(entries: Sequence[LogEntry], at: datetime) -> LogEntry | None:
    """Return the decision about the instant: the newest entry that covers it; None where there is none."""
    return next((each for each in reversed(entries) if each.is_occurrence and each.covers(at)), None)


def about(entries: Sequence[LogEntry], run: str) -> list[LogEntry]:
    """Return the entries of the run."""
    return [each for each in entries if each.run == run]
