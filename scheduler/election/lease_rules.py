"""Rules about the record of a lease, without a clock (spec: reliability.md §3). Pure.

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
# A record's number this far above Redis' was typed in by an operator: 10^6 terms of a second each are eleven days.
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
# After these the store is away or overloaded, and nobody is known to have taken over.
FORGIVABLE = frozenset({"unauthorized", "too_many_requests", "server_error", "timeout", "transport"})


class LeaseError(KuberCronError):
    """The store did not do what was asked of the lease; ``reason`` says in what way."""

    code = "lease"

    def __init__(self, message: str, *, reason: LeaseFailure, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason: LeaseFailure = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """The content of a lease.

    Attributes:
        holder: Who holds it; empty for nobody.
        duration_seconds: How long others have to wait after a change before they may take it.
        acquired_at, renewed_at: Wall-clock times for people (:func:`stamp`).
        transitions: The epoch of the newest term.
        through: The annotation ``kuber-cron.io/through``: how many decisions had been made.
        version: The store's version of it; empty for a record that has not been written.
    """

    holder: str = ""
    duration_seconds: int = 1
    acquired_at: str = ""
    renewed_at: str = ""
    transitions: int = 0
    through: int = 0
    version: str = ""

    def is_as(self, other: "LeaseRecord") -> bool:
        """Return True if no holder has written since ``other``: a label that somebody adds is no sign of life."""
        return _content(self) == _content(other)


def _content(record: LeaseRecord) -> tuple[object, ...]:
    return record.holder, record.duration_seconds, record.acquired_at, record.renewed_at, record.transitions


@dataclass(frozen=True, slots=True)
class Observation:
    """The newest record seen, when it was first seen so, and when it was last read (own interval clock)."""

    record: LeaseRecord
    changed_at: float
    read_at: float

    def expires_at(self) -> float:
        """Return when others may take the lease, on the observer's clock."""
        return self.changed_at + self.record.duration_seconds


def observe(
    before: Observation | None, record: LeaseRecord | None, now: float, *, grace: float = 0.0
) -> Observation | None:
    """Return what is known after one reading, ``now`` being the time at which its answer had come.

    A lease that is gone leaves the last observation standing: its holder may well be alive, and will write it
    anew within a retry. Who could not read for a whole lease knows nothing of its holder, whom the same outage
    may have hindered; the holder then has ``grace`` seconds to show itself, or each outage would end a term.
    """
    if record is None:
        return before
    if before is None or not record.is_as(before.record):
        return Observation(record, now, now)
    changed_at = before.changed_at
    if now - before.read_at > record.duration_seconds:
        changed_at = max(changed_at, now + grace - record.duration_seconds)
    return Observation(record, changed_at, now)


@dataclass(frozen=True, slots=True)
class Acquire:
    """Nobody else holds the lease: take it."""


@dataclass(frozen=True, slots=True)
class Renew:
    """The lease is still ours: renew it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Another holds the lease. ``until`` is the earliest moment at which it can be taken, on our own clock."""

    holder: str
    until: float


@dataclass(frozen=True, slots=True)
class StepDown:
    """Another has taken the lease from us, or had it meanwhile."""

    holder: str


Decision = Acquire | Renew | Wait | StepDown


def decide(
    record: LeaseRecord | None, observation: Observation | None, *, holder: str, epoch: int | None, now: float
) -> Decision:
    """Return what to do after the lease was read.

    Args:
        record: What the store holds; None where there is no lease.
        observation: The same reading taken into account (:func:`observe`).
        holder: Our identity.
        epoch: Of our term; None if we have none. A record of ours without a term is taken as a new term.
        now: Our interval clock.
    """
    if epoch is not None:
        if record is None or record.holder == holder:
            return Renew()
        # Emptied by an operator it is still ours, unless a term began and ended meanwhile.
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
    """Return the epoch of a new term: above the record's and above ``floor``, what Redis and this process have seen.

    Raises:
        LeaseError: The record cannot hold a number that large.
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
    """Return True if a record's number is too far above Redis' to be a count of terms."""
    return recorded > floor + TYPED_IN


def stamp(wall: datetime) -> str:
    """Return a wall-clock time as text: RFC 3339 with microseconds, and never 0 of them.

    Kubernetes' official client drops a fraction of 0, and its API server refuses a time without one.
    """
    return wall.replace(microsecond=max(wall.microsecond, 1), tzinfo=None).isoformat() + "Z"


def taken(
    record: LeaseRecord | None, *, holder: str, epoch: int, lease: float, wall: datetime, through: int
) -> LeaseRecord:
    """Return the record of a new term, to be written over ``record``."""
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
    """Return the record of a term that goes on. What an operator has edited meanwhile is put right."""
    made = taken(record, holder=holder, epoch=epoch, lease=lease, wall=wall, through=through)
    if record is not None and record.holder == holder and record.transitions == epoch and record.acquired_at:
        return replace(made, acquired_at=record.acquired_at)
    return made


def released(record: LeaseRecord, *, wall: datetime, through: int) -> LeaseRecord:
    """Return a record that any other may take at once. A duration of 0 would be refused."""
    now = stamp(wall)
    return replace(record, holder="", duration_seconds=1, acquired_at=now, renewed_at=now, through=through)
