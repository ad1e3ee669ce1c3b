"""The signed payload of a run: all that a worker needs to execute it (spec: reliability.md §4, §7).

The payload is JSON with sorted keys. It is signed over its exact bytes, and a worker executes from those bytes only. The
function's dotted name is stored in Redis beside it and is part of the wire format; nothing is ever looked up by a name
that came from Redis. Pure.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from kuber_cron.common import time_format
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.options import AttemptOptions
from kuber_cron.common.runs import signing
from kuber_cron.common.runs.run_id import run_id

PAYLOAD_VERSION = 1
# What RQ shows as the function of our runs; a stock RQ worker that calls it gets an error with what to use instead.
FUNCTION = "kuber_cron.worker.entry.run"


class PayloadError(KuberCronError):
    """A run's payload cannot be read or its signature does not match: the run goes to quarantine.

    Attributes:
        reason: One of the closed set that labels ``cron_quarantined_total``.
    """

    code = "bad-payload"

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason

    def to_note(self) -> str:
        """Return what the quarantine's record holds of it: JSON."""
        return json.dumps({"reason": self.reason, "message": self.message})


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload(AttemptOptions):
    """All that decides what an attempt executes and how it may end: the job's options for it, and whose run it is.

    Attributes:
        version: The form of the payload. A worker puts a newer one back and stops claiming.
        scheduled_at: The occurrence's nominal instant, aware UTC, whole seconds.
        origin: The queue that the run is pushed to (``<queue>-low`` for low priority).
        manual: True for a run that an operator asked for.
    """

    version: int = PAYLOAD_VERSION
    run: str
    job: str
    scheduled_at: datetime
    origin: str
    manual: bool = False
    command: str | list[str]
    env: dict[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the payload as canonical JSON: sorted keys, no blanks, instants as ISO 8601 with Z."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        for name in _INSTANTS:
            if values[name] is not None:
                values[name] = time_format.iso(values[name])
        return _canonical(values).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Payload":
        """Return the payload of these bytes; a field that an older release did not write has the job's default.

        Raises:
            PayloadError: ``reason`` is ``version`` for a newer form (put it back), ``malformed`` otherwise.
        """
        try:
            values = json.loads(raw)
            version = values["version"]
            if isinstance(version, int) and version > PAYLOAD_VERSION:
                raise PayloadError(
                    f"payload version {version} is newer than this worker's {PAYLOAD_VERSION}",
                    reason="version",
                    hint="update the workers",
                )
            if unknown := values.keys() - _FIELDS:
                # Only a newer release writes what this one does not know: to be put back, never quarantined.
                raise PayloadError(
                    f"the payload has {min(unknown)!r}, which this worker's version does not know",
                    reason="version",
                    hint="update the workers",
                )
            for name in _INSTANTS:
                if values[name] is not None:
                    values[name] = time_format.parse(values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PayloadError(f"payload cannot be read: {error}", reason="malformed") from error


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_FIELDS = frozenset(f.name for f in fields(Payload))
_FROM_JOB = _FIELDS & frozenset(f.name for f in fields(Job))
_INSTANTS = ("scheduled_at", "not_after")


def origin_of(job: Job) -> str:
    """Return the queue that the job's runs are pushed to: low priority has a list of its own, served by weight."""
    return f"{job.queue}-low" if job.priority == "low" else job.queue


def payload_for(job: Job, at: datetime, *, run: str | None = None, manual: bool = False) -> Payload:
    """Return what a worker needs to execute the job's occurrence at ``at``."""
    own: dict[str, Any] = {name: getattr(job, name) for name in _FROM_JOB}
    if job.execution == "at_most_once":
        # No attempt is ever repeated, whatever ended the first (spec: reliability.md §6).
        own |= {"retries": 0, "max_lost": 0, "on_interrupt": "fail"}
    return Payload(
        run=run or run_id(job.id, at),
        job=job.id,
        scheduled_at=at,
        origin=origin_of(job),
        manual=manual,
        **own,
    )


def encode(payload: Payload, key: bytes | None) -> tuple[str, str]:
    """Return the arguments of the RQ job: the payload's text and its signature (empty without a key)."""
    raw = payload.to_bytes()
    return raw.decode(), signing.sign(raw, key) if key else ""


def decode(arguments: object, keys: Sequence[bytes]) -> Payload:
    """Return the payload in an RQ job's arguments, verified where keys are given.

    Raises:
        PayloadError: ``reason`` is ``malformed``, ``unsigned``, ``signature`` or ``version``.
    """
    match arguments:
        case [str(body), str(signature)]:
            raw = body.encode()
        case _:
            raise PayloadError("the run's arguments are not a payload and its signature", reason="malformed")
    if keys:
        if not signature:
            raise PayloadError("the payload is not signed", reason="unsigned")
        if not signing.is_signed(raw, signature, keys):
            raise PayloadError("the payload's signature does not match", reason="signature")
    return Payload.from_bytes(raw)


def arguments_in(data: bytes) -> object:
    """Return the arguments in RQ's ``data`` field of a run; the function's name beside them is ignored.

    Raises:
        PayloadError: ``reason`` is ``malformed``: not JSON (a pickle, say), or not of RQ's form.
    """
    try:
        _function, _instance, arguments, _kwargs = json.loads(zlib.decompress(data))
    except (zlib.error, ValueError, TypeError) as error:
        raise PayloadError(
            "the run's data cannot be read: RQ's JSON serializer did not write it", reason="malformed"
        ) from error
    return arguments


def decode_unverified(data: bytes) -> Payload | None:
    """Return the payload in RQ's ``data`` field for people to read, never to be executed; None where there is none."""
    try:
        return decode(arguments_in(data), ())
    except PayloadError:
        return None
