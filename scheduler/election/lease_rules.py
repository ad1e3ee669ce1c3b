"""What the record of a Lease says, and what to do about it: rules without a clock (spec: reliability.md §3).

The record is the one that client-go's own elector writes, so either respects the other. Its times are for
people: another holder is judged by when *we* last saw its record change, on our own interval clock, and by the
record's own duration. A leader's own validity is anchored at the moment before its request was sent, so that it
has ended everywhere else later than here.

What these rules do *not* give is safety: a paused process, a clock that runs wild or a record that somebody
edits can put two leaders beside each other. That only one of them can decide is the business of Redis.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from kuber_cron.common.errors import KuberCronError

# The API server's field is an int32.
MAX_TRANSITIONS = 2**31 - 1
# A record's number this far above Redis' was typed in by hand: 10^6 terms of a second each are eleven days.
TYPED_IN = 10**6

LeaseFailure = Literal[
    "conflict",  # 409: somebody else has written
    "forbidden",  # 403
    "not_found",  # 404, at a write
    "unauthorized",  # 401: the token has expired; it is read again
    "too_many_requests",  # 429
    "server_error",  # 5xx
    "rejected",  # any other answer: the record itself is refused
    "timeout",
    "transport",
]
# After these the API server is away or overloaded, and nobody is known to have taken over.
FORGIVABLE = frozenset({"unauthorized", "too_many_requests", "server_error", "timeout", "transport"})


class LeaseError(KuberCronError):
    """The API server did not do what was asked of the Lease; ``reason`` says in what way."""

    code = "lease"

    def __init__(self, message: str, *, reason: LeaseFailure, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason: LeaseFailure = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A Lease's content.

    Attributes:
        holder: Who holds it; empty for nobody.
        duration_seconds: How long others have to wait after a change before they may take it.
        acquired_at, renewed_at: The wall clock's word in the API server's format, for people.
        transitions: The epoch of the newest term.
        through: The annotation ``kuber-cron.io/through``: how many decisions had been made.
        version: The API server's resource version; empty for a record that has not been written.
    """

    holder: str = ""
    duration_seconds: int = 1
    acquired_at: str = ""
    renewed_at: str = ""
    transitions: int = 0
    through: int = 0
    version: str = ""

    def is_as(self, other: "LeaseRecord") -> bool:
        """Whether a holder has left the record alone since ``other``: a label that somebody adds is no sign of life."""
        return _content(self) == _content(other)


def _content(record: LeaseRecord) -> tuple[object, ...]:
    return record.holder, record.duration_seconds, record.acquired_at, record.renewed_at, record.transitions


@dataclass(frozen=True, slots=True)
class Observation:
    """The newest record seen, when it was first seen so, and when it was last looked at (own interval clock)."""

    record: LeaseRecord
    changed_at: float
    looked_at: float

    def expires_at(self) -> float:
        """When others may take the Lease, on the observer's clock."""
        return self.changed_at + self.record.duration_seconds


def observe(
    before: Observation | None, record: LeaseRecord | None, now: float, *, grace: float = 0.0
) -> Observation | None:
    """What is known after one look, ``now`` being the time at which its answer had come.

    A Lease that is gone leaves the last observation standing: its holder may well be alive, and will write it
    anew within a retry. Who could not look for a whole lease knows nothing of its holder, whom the same outage
    may have hindered; the holder then has ``grace`` seconds to show itself, or each outage would end a term.
    """
    if record is None:
        return before
    if before is None or not record.is_as(before.record):
        return Observation(record, now, now)
    changed_at = before.changed_at
    if now - before.looked_at > record.duration_seconds:
        changed_at = max(changed_at, now + grace - record.duration_seconds)
    return Observation(record, changed_at, now)


@dataclass(frozen=True, slots=True)
class Acquire:
    """The Lease is ours to take."""


@dataclass(frozen=True, slots=True)
class Renew:
    """It is still ours."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Another holds it. ``until`` is the earliest moment at which it can be taken, on our own clock."""

    holder: str
    until: float


@dataclass(frozen=True, slots=True)
class StepDown:
    """Another has taken it from us, or had it meanwhile."""

    holder: str


Decision = Acquire | Renew | Wait | StepDown


def decide(
    record: LeaseRecord | None, observation: Observation | None, *, holder: str, epoch: int | None, now: float
) -> Decision:
    """What to do after a look at the Lease.

    Args:
        record: What the API server holds; None where there is no Lease.
        observation: The same look taken into account (:func:`observe`).
        holder: Our identity.
        epoch: Of our term; None if we have none. A record of ours without a term is taken as a new term.
        now: Our interval clock.
    """
    if epoch is not None:
        if record is None or record.holder == holder:
            return Renew()
        # Emptied by hand it is still ours, unless a term began and ended meanwhile.
        if not record.holder and record.transitions <= epoch:
            return Renew()
        return StepDown(record.holder)
    seen = record if record is not None else observation.record if observation is not None else None
    if seen is None or observation is None or seen.holder in {"", holder}:
        return Acquire()
    if now >= observation.expires_at():
        return Acquire()
    return Wait(seen.holder, observation.expires_at())


def next_epoch(recorded: int, floor: int) -> int:
    """The epoch of a new term: above the record's and above ``floor``, what Redis and this process have seen.

    Raises:
        LeaseError: The API server cannot hold a number that large.
    """
    epoch = max(floor, 0 if is_typed_in(recorded, floor) else recorded) + 1
    if epoch > MAX_TRANSITIONS:
        raise LeaseError(
            f"the next epoch, {epoch}, is more than a Lease can hold",
            reason="rejected",
            hint="the field epoch of the hash fence in Redis was set by hand: docs/leadership.md",
        )
    return epoch


def is_typed_in(recorded: int, floor: int) -> bool:
    """Whether a record's number is too far above Redis' to be a count of terms."""
    return recorded > floor + TYPED_IN


def validity_seconds(lease: float, renew: float, margin: float) -> float:
    """How long a leader may act after the moment before it sent the request that renewed its Lease."""
    return min(renew, lease - margin)


def stamp(wall: datetime) -> str:
    """A wall-clock time as the API server wants it: microseconds, and never 0 of them.

    The official client's model drops a fraction of 0, and the API server refuses a time without one.
    """
    return wall.replace(microsecond=max(wall.microsecond, 1), tzinfo=None).isoformat() + "Z"


def taken(
    record: LeaseRecord | None, *, holder: str, epoch: int, lease: float, wall: datetime, through: int
) -> LeaseRecord:
    """The record of a new term, to be written over ``record``."""
    now = stamp(wall)
    return LeaseRecord(
        holder=holder,
        duration_seconds=max(1, math.ceil(lease)),
        acquired_at=now,
        renewed_at=now,
        transitions=epoch,
        through=through,
        version=record.version if record is not None else "",
    )


def renewed(
    record: LeaseRecord | None, *, holder: str, epoch: int, lease: float, wall: datetime, through: int
) -> LeaseRecord:
    """The record of a term that goes on. What was edited by hand meanwhile is put right."""
    made = taken(record, holder=holder, epoch=epoch, lease=lease, wall=wall, through=through)
    if record is not None and record.holder == holder and record.transitions == epoch and record.acquired_at:
        return replace(made, acquired_at=record.acquired_at)
    return made


def released(record: LeaseRecord, *, wall: datetime, through: int) -> LeaseRecord:
    """The record that any other may take at once. A duration of 0 would be refused."""
    now = stamp(wall)
    return replace(record, holder="", duration_seconds=1, acquired_at=now, renewed_at=now, through=through)
