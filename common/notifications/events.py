"""Events that people are notified of: runs that ended for good, and missed occurrences. Pure.

A notification goes to the installation's webhook, in the form of its channel; which events a job wants is its ``notify``.
Nothing here knows a command, and the output in an event must have its secrets redacted already.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kuber_cron.common import time_format

EventKind = Literal["failure", "recovery", "success", "ended", "missed"]
"""``success`` and ``ended`` (replaced by a newer run) are wanted by ``always`` alone."""

NAMESPACE = uuid.UUID("6f0cba3d-9e0b-5d5c-8f0e-7a3f6b0d7c11")
"""Of all ids that receivers see."""

OUTPUT_LIMIT = 4000  # characters: what a person reads before opening the log

_WANTED_BY: dict[EventKind, frozenset[str]] = {
    "failure": frozenset({"failure", "always"}),
    "recovery": frozenset({"recovery", "always"}),
    "success": frozenset({"always"}),
    "ended": frozenset({"always"}),
    "missed": frozenset({"missed"}),
}
_FAILURES = {
    "timed_out": "ran into its time limit",
    "lost": "was lost with its worker",
    "stopped": "was stopped",
    "interrupted": "was interrupted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run has ended for good.

    Attributes:
        outcome: One of interface.md's; ``replaced`` too.
        recovered: The run is a success, and the job's last run was none.
        exit_code, signal: Of the last attempt's command, where it had one.
        worker: The worker of the last attempt.
        leader: The leader that found it lost; None where its worker reported the end itself.
        output: The end of the last attempt's output.
    """

    job: str
    team: str | None = None
    description: str | None = None
    run: str
    attempt: int
    outcome: str
    recovered: bool = False
    exit_code: int | None = None
    signal: int | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    worker: str | None = None
    leader: str | None = None
    output: str = ""

    @property
    def kind(self) -> EventKind:
        """The kind of the event, which a job's ``notify`` asks for."""
        if self.outcome == "success":
            return "recovery" if self.recovered else "success"
        return "ended" if self.outcome == "replaced" else "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Occurrences of a job that were not run, all for one reason.

    Attributes:
        reason: One of interface.md's (``missed``).
        first_at, last_at: The first and the last occurrence.
        count: The number of occurrences.
    """

    job: str
    team: str | None = None
    description: str | None = None
    reason: str
    first_at: datetime
    last_at: datetime
    count: int
    leader: str

    @property
    def kind(self) -> EventKind:
        """The kind of the event, which a job's ``notify`` asks for."""
        return "missed"


Event = RunEnded | Missed


def is_wanted(notify: str, kind: EventKind) -> bool:
    """Return True if a job with this ``notify`` wants notifications of this kind of event."""
    return not _WANTED_BY[kind].isdisjoint(notify.split(","))


def event_id(event: Event, instance: str) -> str:
    """Return the event's id, the same for every try and every sender, so that receivers can drop repetitions."""
    if isinstance(event, Missed):
        subject = f"{event.job}|{event.reason}|{iso(event.first_at)}"
    else:
        subject = f"{event.run}|{event.attempt}"
    return str(uuid.uuid5(NAMESPACE, f"{instance}|{event.kind}|{subject}"))


def summary(event: Event) -> str:
    """Return the event as one sentence for people."""
    if isinstance(event, Missed):
        runs = "a run" if event.count == 1 else f"{event.count} runs"
        return f"{event.job} missed {runs}: {event.reason}"
    if event.kind == "recovery":
        return f"{event.job} works again"
    if event.kind == "success":
        return f"{event.job} succeeded"
    if event.kind == "ended":
        return f"{event.job} was replaced by a newer run"
    if event.outcome in _FAILURES:
        return f"{event.job} {_FAILURES[event.outcome]}"
    if event.signal is not None:
        return f"{event.job} was ended by signal {event.signal}"
    return f"{event.job} failed" + (f" with exit code {event.exit_code}" if event.exit_code else "")


def end_of(output: str, limit: int = OUTPUT_LIMIT) -> str:
    """Return the last ``limit`` characters, with a mark where something is cut off."""
    return output if len(output) <= limit else "…" + output[1 - limit :]


def iso(instant: datetime) -> str:
    """Return the instant as notifications have it: UTC, with milliseconds where there is a fraction."""
    return time_format.iso(instant, "milliseconds" if instant.microsecond else "seconds")
