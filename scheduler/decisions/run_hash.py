"""Run records as RQ itself would write them, ready to be sent (spec: reliability.md §4).

Built with RQ's public API, so that they are, field by field, what ``Queue.enqueue_many`` writes (a golden
test keeps it so), and our own fields beside them. ``retries_left`` is never among them: it would let RQ
itself push a run again.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from redis import Redis
from rq.job import Job as RQJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now as rq_now
from rq.utils import utcformat

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.records.history_limits import HistoryLimits
from kuber_cron.common.redis_store.scripts import Value, rq_instant
from kuber_cron.common.runs import payload as runs
from kuber_cron.scheduler.decisions.dependencies import group_of

# RQ's own field; ours is in the payload and measured by the worker. -1 is RQ's "no limit".
_NO_TIMEOUT = -1
# RQ's own fields too, and its defaults (500 s and a year) are neither: how long ended runs stay is told by the bounds.
_TTL_SECONDS = HistoryLimits().seconds
# The fields whose values are a run's own, and those that the deciding script knows by itself; all others are alike in
# most runs.
_OWN = ("data", "description", "group")
_KNOWN = ("created_at", "enqueued_at", "job", "at")


@dataclass(frozen=True, slots=True)
class RunHash:
    """A run ready to be queued.

    Attributes:
        run: The run's id.
        origin: The queue's name.
        shape: The part of the hash that many runs have alike, flat: name, value, name, value …
        own: What is the run's own.
        known: What the script that decides writes without being told.
    """

    run: str
    origin: str
    shape: tuple[Value, ...]
    own: tuple[Value, ...]
    known: tuple[Value, ...]

    @property
    def fields(self) -> tuple[Value, ...]:
        """The whole hash, flat."""
        return self.shape + self.own + self.known


class RunHashBuilder:
    """Makes run records. ``client`` satisfies RQ's constructors; nothing is sent through it."""

    def __init__(self, client: "Redis", signing_key: bytes | None) -> None:
        self._client = client
        self._key = signing_key
        self._made: dict[tuple[str, int], dict[str, Value]] = {}

    def record(
        self, job: Job, at: datetime, enqueued_at: datetime | None = None, *, run: str | None = None
    ) -> RunHash:
        """The record of the job's occurrence at ``at``, or with ``run`` of a run of that id that somebody asked for.

        The script that queues it writes when it was.
        """
        payload = runs.payload_for(job, at, run=run, manual=run is not None)
        # Function, instance, arguments, keywords: as RQ packs a call.
        call: tuple[object, ...] = (runs.FUNCTION, None, runs.encode(payload, self._key), {})
        data = JSONSerializer.dumps(call)  # type: ignore[no-untyped-call] # RQ types it not
        mapping: dict[str, Value] = {
            **self._usual(payload.origin, _NO_TIMEOUT if job.timeout is None else max(1, round(job.timeout))),
            "created_at": utcformat(rq_now()),
            "data": zlib.compress(data),
            "description": f"{job.id} at {rq_instant(at)[:19]}Z",
        }
        if enqueued_at is not None:
            mapping["enqueued_at"] = rq_instant(enqueued_at)
        # What the scripts need to know without opening the payload.
        mapping |= {"job": job.id, "at": int(at.timestamp()), "max_lost": payload.max_lost}
        if job.group is not None:
            mapping["group"] = group_of(job.group)[0]
        if job.concurrency != "allow":
            mapping["concurrency"] = job.concurrency
        if job.on_remove != "run":
            mapping["on_remove"] = job.on_remove
        own, known = _taken(mapping, _OWN), _taken(mapping, _KNOWN)
        return RunHash(payload.run, payload.origin, tuple(chain.from_iterable(mapping.items())), own, known)

    def _usual(self, origin: str, timeout: int) -> dict[str, Value]:
        """What RQ writes of a job of ours that says nothing else; made by RQ itself, once for each queue and limit."""
        known = self._made.get((origin, timeout))
        if known is None:
            made = RQJob.create(
                runs.FUNCTION,
                args=("", ""),
                connection=self._client,
                id="any",
                origin=origin,
                status=JobStatus.QUEUED,
                description="any",
                timeout=timeout,
                result_ttl=_TTL_SECONDS,
                failure_ttl=_TTL_SECONDS,
                serializer=JSONSerializer,
            )
            known = self._made[origin, timeout] = made.to_dict() | {"status": JobStatus.QUEUED.value}
        return known


def _taken(mapping: dict[str, Value], names: Sequence[str]) -> tuple[Value, ...]:
    """These fields, out of the mapping, flat."""
    return tuple(part for name in names if name in mapping for part in (name, mapping.pop(name)))
