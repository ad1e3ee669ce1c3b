"""The observer: reads from Redis, every few seconds, what the leader exports as metrics; never while deciding.

A scrape is served from the last observation, so it cannot hold up the deciding loop, and what it exports
outlives the worker that did it (spec: architecture.md, "Who exports what").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from redis.exceptions import RedisError

from kuber_cron.common import time_format
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store

OBSERVE_SECONDS = 5.0
# At most so many jobs that have changed, or were never read, at a time: about 0.1 s of Python.
_MOST = 10_000
# At most so many others are read each time: 10,000 jobs within a quarter of an hour or so.
_IN_TURN = 50
# The counts are read when a job has changed, and every minute in any case.
_COUNTS_EVERY = 12
# How long replicas get to acknowledge what was written before (WAIT); a metric, and no batch waits for it.
_SYNC_MILLISECONDS = 100
# In the order of LastRun.
_STATS = ("last_run_at", "last_success_at", "last_outcome", "last_duration", "failing", "expected_from")


@dataclass(frozen=True, slots=True)
class LastRun:
    """A job's newest ended run. Instants are seconds since the epoch, None for never.

    Attributes:
        duration_seconds: How long its last attempt took; 0 where nobody knows.
        is_failing: A run has failed for good since the last success.
        expected_from: The job was new, edited or suspended at this instant: no success is asked for up to it.
    """

    ended_at: float | None = None
    success_at: float | None = None
    outcome: str = ""
    duration_seconds: float = 0.0
    is_failing: bool = False
    expected_from: float | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue's depth, when its head was queued (seconds since the epoch; None when it is empty), who serves it."""

    depth: int
    head_queued_at: float | None
    workers: int = 0


@dataclass(frozen=True, slots=True)
class RedisObservation:
    """One reading of Redis. ``None`` where it was not asked or did not answer.

    Attributes:
        epoch: Of the term that it was made in: what an earlier term observed is not exported in a later one.
        at: When it was made, seconds since the epoch.
    """

    epoch: int | None = None
    at: float = 0.0
    jobs: Mapping[str, LastRun] = field(default_factory=dict)
    queues: Mapping[str, QueueState] = field(default_factory=dict)
    missed: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ended: Mapping[tuple[str, str], int] = field(default_factory=dict)
    acted: Mapping[str, int] = field(default_factory=dict)
    workers: int = 0
    memory_bytes: int | None = None
    memory_max_bytes: int | None = None
    evicted_keys: int | None = None
    replicas: int = 0
    replicas_in_sync: int = 0


class RedisObserver:
    """Observes for one replica in one term: every job at first, then only those that have changed.

    The scripts leave the names of the jobs whose numbers they change. Each observation reads a few other jobs in turn as
    well, because a name may be missing: of an older release's worker, or taken by another leader that then died.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.forget()

    def forget(self) -> None:
        """Read every job again next time."""
        self._entries: Mapping[str, object] | None = None
        self._known: dict[str, LastRun] = {}
        self._turn: list[str] = []
        self._unseen: list[str] = []
        self._missed: Mapping[tuple[str, str], int] = {}
        self._ended: Mapping[tuple[str, str], int] = {}
        self._count = 0

    def observe(self, entries: Mapping[str, object]) -> RedisObservation:
        """Observe now, at the cost of what has changed and not of how many jobs there are.

        Raises:
            redis.RedisError: Redis did not answer; every job is read again next time.
        """
        if entries is not self._entries:
            self._known = {job: run for job, run in self._known.items() if job in entries}
            self._unseen = [job for job in entries if job not in self._known]
            self._entries, self._turn = entries, []
        try:
            told = self._store.client.spop(self._store.keys.changed, _MOST)
            changed = {text(job) for job in told} if isinstance(told, set | list) else set[str]()
            self._turn = self._turn or list(entries)
            jobs = [*(changed & entries.keys()), *self._unseen[-_MOST:], *self._turn[-_IN_TURN:]]
            has_counts = bool(changed) or self._count % _COUNTS_EVERY == 0
            seen = read(self._store, jobs, has_counts=has_counts)
        except RedisError:
            self.forget()
            raise
        del self._unseen[-_MOST:]
        del self._turn[-_IN_TURN:]
        if any(self._known.get(job) != run for job, run in seen.jobs.items()):
            # Replaced as a whole: a scrape may be reading what was returned before.
            self._known = {**self._known, **seen.jobs}
        if has_counts:
            self._missed, self._ended = seen.missed, seen.ended
        self._count += 1
        return replace(seen, jobs=self._known, missed=self._missed, ended=self._ended)


def read(store: Store, jobs: Sequence[str], *, has_counts: bool = True) -> RedisObservation:
    """Read an observation, in two round trips whatever the number of jobs.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    keys, client = store.keys, store.client
    with client.pipeline(transaction=False) as pipe:
        for job in jobs:
            pipe.hmget(keys.stats(job), *_STATS)
        if has_counts:
            pipe.hgetall(keys.missed)
            pipe.hgetall(keys.ended)
        pipe.hgetall(keys.acted)
        pipe.scard(keys.workers)
        pipe.info("memory")
        pipe.info("stats")
        pipe.info("replication")
        pipe.smembers(keys.queues)
        *found, acted, workers, memory, counters, replication, queue_keys = pipe.execute()
    stats = found[: len(jobs)]
    missed, ended = found[len(jobs) :] or ({}, {})
    replicas = int(replication.get("connected_slaves", 0))
    names = sorted(keys.queue_name(key) for key in queue_keys)
    return RedisObservation(
        jobs={job: _last_run(values) for job, values in zip(jobs, stats, strict=True)},
        queues=_queues(store, names),
        missed={_job_and_reason(text(name)): int(count) for name, count in missed.items()},
        ended={_job_and_reason(text(name)): int(count) for name, count in ended.items()},
        acted={text(action): int(count) for action, count in acted.items()},
        workers=workers,
        memory_bytes=memory.get("used_memory"),
        memory_max_bytes=memory.get("maxmemory"),
        evicted_keys=counters.get("evicted_keys"),
        replicas=replicas,
        replicas_in_sync=client.wait(replicas, _SYNC_MILLISECONDS) if replicas else 0,
    )


def _last_run(values: Sequence[bytes | None]) -> LastRun:
    ended, success, outcome, duration, failing, expected_from = values
    return LastRun(
        ended_at=float(ended) if ended else None,
        success_at=float(success) if success else None,
        outcome=text(outcome),
        duration_seconds=float(duration or 0),
        is_failing=bool(failing),
        expected_from=float(expected_from) if expected_from else None,
    )


def _job_and_reason(name: str) -> tuple[str, str]:
    job, _, reason = name.rpartition("|")
    return job, reason


def _queues(store: Store, names: Sequence[str]) -> dict[str, QueueState]:
    with store.client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(store.keys.queue(name))
            pipe.lindex(store.keys.queue(name), 0)
            pipe.scard(store.keys.queue_workers(name))  # RQ's own list of who serves it
        answers = pipe.execute()
        heads = [text(head) for head in answers[1::3]]
        for head in heads:
            pipe.hget(store.keys.run(head), "enqueued_at")
        queued = pipe.execute()
    return {
        name: QueueState(depth, _seconds(text(at)), workers)
        for name, depth, at, workers in zip(names, answers[0::3], queued, answers[2::3], strict=True)
    }


def _seconds(iso: str) -> float | None:
    instant = time_format.parse_or_none(iso)
    return None if instant is None else instant.timestamp()
