"""Run records as RQ itself would write them, ready to be sent (spec: reliability.md §4).

Built with RQ's public API, so that they are, field by field, what ``Queue.enqueue_many`` writes (a golden
test keeps it so), and our own fields beside them. ``retries_left`` is never among them: it would let RQ
itself push a run again.
"""

from dataclasses import dataclass
from datetime import datetime

from redis import Redis
from rq.job import Job as RQJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from kuber_cron.common import runs
from kuber_cron.common.jobs import Job
from kuber_cron.common.store import Bounds, Value
from kuber_cron.scheduler.relations import group_of

# RQ's own field; ours is in the payload and measured by the worker. -1 is RQ's "no limit".
_NO_TIMEOUT = -1
# RQ's own fields too, and its defaults (500 s and a year) are neither: how long ended runs stay is told by the bounds.
_TTL_SECONDS = Bounds().seconds
# The fields whose values are a run's own; all others are alike in most runs.
_OWN = ("created_at", "data", "description", "enqueued_at", "job", "at", "group")


@dataclass(frozen=True, slots=True)
class Record:
    """A run ready to be queued.

    Attributes:
        run: The run's id.
        origin: The queue's name.
        shape: The part of the hash that many runs have alike, flat: name, value, name, value …
        own: The rest of it.
    """

    run: str
    origin: str
    shape: tuple[Value, ...]
    own: tuple[Value, ...]

    @property
    def fields(self) -> tuple[Value, ...]:
        """The whole hash, flat."""
        return self.shape + self.own


class Builder:
    """Makes run records. ``client`` satisfies RQ's constructors; nothing is sent through it."""

    def __init__(self, client: "Redis", signing_key: bytes | None) -> None:
        self._client = client
        self._key = signing_key

    def record(
        self, job: Job, at: datetime, enqueued_at: datetime | None = None, *, run: str | None = None
    ) -> Record:
        """The record of the job's occurrence at ``at``, or with ``run`` of a run of that id that somebody asked for.

        The script that queues it writes when it was.
        """
        payload = runs.payload_for(job, at, run=run, manual=run is not None)
        body, signature = runs.encode(payload, self._key)
        rq_job = RQJob.create(
            runs.FUNCTION,
            args=(body, signature),
            connection=self._client,
            id=payload.run,
            origin=payload.origin,
            status=JobStatus.QUEUED,
            description=f"{job.id} at {at:%Y-%m-%dT%H:%M:%SZ}",
            timeout=_NO_TIMEOUT if job.timeout is None else max(1, round(job.timeout)),
            result_ttl=_TTL_SECONDS,
            failure_ttl=_TTL_SECONDS,
            serializer=JSONSerializer,
        )
        if enqueued_at is not None:
            rq_job.enqueued_at = enqueued_at
        mapping: dict[str, Value] = rq_job.to_dict()
        mapping["status"] = JobStatus.QUEUED.value
        # What the scripts need to know without opening the payload.
        mapping |= {"job": job.id, "at": int(at.timestamp()), "max_lost": payload.max_lost}
        if job.group is not None:
            mapping["group"] = group_of(job.group)[0]
        if job.concurrency != "allow":
            mapping["concurrency"] = job.concurrency
        if job.on_remove != "run":
            mapping["on_remove"] = job.on_remove
        own = tuple(part for name in _OWN if name in mapping for part in (name, mapping.pop(name)))
        return Record(
            payload.run, payload.origin, tuple(part for item in mapping.items() for part in item), own
        )
