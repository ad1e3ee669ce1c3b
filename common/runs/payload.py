"""Runs: their ids, and the signed payload that tells a worker what to execute (spec: reliability.md §4, §7).

The payload is JSON with sorted keys; the signature is HMAC-SHA256 over its exact bytes, and a worker
executes from those bytes only. The function's dotted name is stored in Redis beside it and is part of the
wire format; nothing is ever looked up by a name that came from Redis.
"""

import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from kuber_cron.common.errors import PayloadError
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.options import AttemptOptions

PAYLOAD_VERSION = 1
# What RQ shows as the function of our runs; a stock RQ worker that calls it is told what to use instead.
FUNCTION = "kuber_cron.worker.entry.run"
_STAMP = "%Y%m%dT%H%M%SZ"
_STAMPED = re.compile(r"-\d{8}T\d{6}Z(-m[0-9a-f]{8})?$", re.ASCII)


def run_id(job_id: str, at: datetime) -> str:
    """The id of the run of one occurrence: ``<job>-<YYYYMMDDTHHMMSSZ>``."""
    return f"{job_id}-{at.astimezone(UTC).strftime(_STAMP)}"


def manual_run_id(job_id: str, at: datetime, nonce: str) -> str:
    """The id of a run that somebody asked for: the occurrence's form and ``-m<8 hex>``."""
    return f"{run_id(job_id, at)}-m{nonce[:8]}"


def job_of(run: str) -> str:
    """The job's id in a run's id; the whole of one that is not of our making."""
    return _STAMPED.sub("", run)


def is_by_hand(run: str) -> bool:
    """Whether it is the id of a run that somebody asked for: it stands for no occurrence."""
    found = _STAMPED.search(run)
    return found is not None and found[1] is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload(AttemptOptions):
    """All that decides what an attempt executes and how it may end: the job's options for it, and whose run it is.

    Attributes:
        version: The form of the payload. A worker puts a newer one back and stops claiming.
        scheduled_at: The occurrence's nominal instant, aware UTC, whole seconds.
        origin: The queue that the run is pushed to (``<queue>-low`` for low priority).
        manual: True for a run that somebody asked for.
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
        """The payload as canonical JSON: sorted keys, no blanks, instants as ISO 8601 with Z."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        for name in ("scheduled_at", "not_after"):
            if values[name] is not None:
                values[name] = values[name].astimezone(UTC).isoformat().replace("+00:00", "Z")
        return _canonical(values).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Payload":
        """The payload of these bytes.

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
            for name in ("scheduled_at", "not_after"):
                if values[name] is not None:
                    values[name] = datetime.fromisoformat(values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PayloadError(f"payload cannot be read: {error}", reason="malformed") from error


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_FIELDS = frozenset(f.name for f in fields(Payload))
_FROM_JOB = _FIELDS & frozenset(f.name for f in fields(Job))


def origin_of(job: Job) -> str:
    """The queue that the job's runs are pushed to: low priority has a list of its own, served by weight."""
    return f"{job.queue}-low" if job.priority == "low" else job.queue


def payload_for(job: Job, at: datetime, *, run: str | None = None, manual: bool = False) -> Payload:
    """What a worker needs to execute the job's occurrence at ``at``."""
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


def sign(payload: bytes, key: bytes) -> str:
    """The HMAC-SHA256 of the payload under the key, in hexadecimal."""
    return hmac.new(key, payload, hashlib.sha256).hexdigest()


def is_signed(payload: bytes, signature: str, keys: Sequence[bytes]) -> bool:
    """Whether one of the keys (two during a rotation) made this signature; compared in constant time."""
    return any(hmac.compare_digest(sign(payload, key), signature) for key in keys)


def encode(payload: Payload, key: bytes | None) -> tuple[str, str]:
    """The arguments of the RQ job: the payload's text and its signature (empty without a key)."""
    raw = payload.to_bytes()
    return raw.decode(), sign(raw, key) if key else ""


def peek(data: bytes) -> Payload | None:
    """The payload in RQ's ``data`` field of a run, unverified: for people to read, and never to be executed."""
    try:
        _function, _instance, args, _kwargs = json.loads(zlib.decompress(data))
        return decode(args, ())
    except (zlib.error, ValueError, TypeError, PayloadError):
        return None


def decode(args: object, keys: Sequence[bytes]) -> Payload:
    """The payload in an RQ job's arguments, verified where keys are given.

    Raises:
        PayloadError: ``reason`` is ``malformed``, ``unsigned``, ``signature`` or ``version``.
    """
    match args:
        case [str(body), str(signature)]:
            raw = body.encode()
        case _:
            raise PayloadError("the run's arguments are not a payload and its signature", reason="malformed")
    if keys:
        if not signature:
            raise PayloadError("the payload is not signed", reason="unsigned")
        if not is_signed(raw, signature, keys):
            raise PayloadError("the payload's signature does not match", reason="signature")
    return Payload.from_bytes(raw)
