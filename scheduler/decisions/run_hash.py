"""The hashes of runs as RQ itself would write them, ready to be sent (spec: reliability.md §4).

Built with RQ's public API, so that they are, field by field, what ``Queue.enqueue_many`` writes (a golden
test keeps it so), and our own fields beside them. ``retries_left`` is never among them: it would let RQ
itself push a run again.

Two thirds of a hash are the same for most jobs: RQ's empty fields, the limits, the queue. These shared fields are packed
once and sent once a batch, an optimisation: sent and read with each run they were a sixth of what a decision costs Redis.
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
from kuber_cron.common.redis_store.scripts import Value, pack
from kuber_cron.common.runs import payload as runs
from kuber_cron.common.time_format import iso, rq_instant
from kuber_cron.scheduler.decisions.dependencies import group_of

# RQ's own field; ours is in the payload and measured by the worker. -1 is RQ's "no limit".
_NO_TIMEOUT = -1
# RQ's own fields too, and its defaults (500 s and a year) are neither: the history limits say how long ended runs stay.
_TTL_SECONDS = HistoryLimits().seconds
# The fields whose values are a run's own, and those that the deciding script knows by itself; all others are alike in
# most runs.
_OWN = ("data", "description", "group")
_KNOWN = ("created_at", "enqueued_at", "job", "at")
# At most so many shared fields are remembered; where jobs differ more than that, some are packed again.
_SHARED_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class RunHash:
    """A run ready to be queued.

    Attributes:
        run: The run's id.
        origin: The queue's name.
        shared: The part of the hash that many runs have alike, flat: name, value, name, value …
        own: What is the run's own.
        known: What the deciding script writes by itself.
    """

    run: str
    origin: str
    shared: tuple[Value, ...]
    own: tuple[Value, ...]
    known: tuple[Value, ...]

    @property
    def fields(self) -> tuple[Value, ...]:
        """Return the whole hash, flat."""
        return self.shared + self.own + self.known


class RunHashBuilder:
    """Builds the hashes of runs. ``client`` satisfies RQ's constructors; nothing is sent through it."""

    def __init__(self, client: "Redis", signing_key: bytes | None) -> None:
        self._client = client
        self._key = signing_key
        self._made: dict[tuple[str, int], dict[str, Value]] = {}

    def build(
        self, job: Job, at: datetime, enqueued_at: datetime | None = None, *, run: str | None = None
    ) -> RunHash:
        """Return the hash of the job's occurrence at ``at``, or with ``run`` of the manual run of that id.

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
            "description": f"{job.id} at {iso(at, 'seconds')}",
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
        """Return what RQ writes of any job of ours; made by RQ itself, once for each queue and limit."""
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
    """Take these fields out of the mapping; return them flat."""
    return tuple(part for name in names if name in mapping for part in (name, mapping.pop(name)))


@dataclass(frozen=True, slots=True)
class SharedFields:
    """Fields and values as the deciding script takes them, under a name that is theirs alone in this process."""

    name: int
    packed: bytes
    count: int


class SharedFieldsTable:
    """Gives equal fields the same name."""

    def __init__(self) -> None:
        self._known: dict[tuple[Value, ...], SharedFields] = {}
        self._last = 0

    def of(self, fields: tuple[Value, ...]) -> SharedFields:
        """Return the shared fields of these names and values in turn."""
        known = self._known.get(fields)
        if known is None:
            if len(self._known) >= _SHARED_LIMIT:
                self._known.clear()
            self._last += 1
            known = SharedFields(self._last, pack((self._last, len(fields), *fields)), len(fields) + 2)
            self._known[fields] = known
        return known
