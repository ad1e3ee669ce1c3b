"""The leader, the schedulers, the workers, the queues and the server, from Redis alone.

`queues` and `workers` are the queries behind the commands of these names.
"""

from datetime import datetime
from typing import Any

from kuber_cron import __version__
from kuber_cron.common.records.parsing import (
    fields,
    instant,
    milliseconds_as_instant,
    number,
    seconds_as_instant,
    text,
)
from kuber_cron.common.records.processes import Leader, QueueInfo, SchedulerInfo, ServerInfo, WorkerInfo
from kuber_cron.common.redis_store.connections import address_of
from kuber_cron.common.redis_store.keys import Registry
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import names, problems, redis_time
from kuber_cron.control.queries.results import QueuesView, WorkersView

# A leader's housekeeping has the fence seen each second, its election every few; a standby never.
_ALIVE_SECONDS = 15.0
_WORKER_FIELDS = (
    "hostname", "pid", "queues", "state", "birth", "last_heartbeat", "successful_job_count", "failed_job_count",
    "total_working_time", "kuber_cron_version", "slots", "draining", "problem",
)  # fmt: skip
_OPEN: tuple[Registry, ...] = ("wip", "scheduled", "deferred")
_ENDED: tuple[Registry, ...] = ("failed", "finished", "canceled")
_Answer = Any  # redis-py's types of replies are unions over every command


FENCE_FIELDS = ("holder", "epoch", "seen", "cluster")
"""The fields of the fence that name the leader."""


def leader(store: Store) -> tuple[Leader, datetime]:
    """Return who leads, and Redis' time."""
    with store.client.pipeline(transaction=False) as pipe:
        pipe.hmget(store.keys.fence, FENCE_FIELDS)
        pipe.get(store.keys.lease)
        pipe.time()
        fence, lease, at = pipe.execute()
    return leader_of(store, fence, lease, redis_time.of_reply(at)), redis_time.of_reply(at)


def leader_of(store: Store, fence: _Answer, lease: bytes | None, at: datetime) -> Leader:
    """Return who leads, by the fence's ``FENCE_FIELDS`` and the lease's key."""
    found = fields(FENCE_FIELDS, fence)
    seen_at = seconds_as_instant(number(found["seen"]) / 1000) if "seen" in found else None
    # A key in Redis elects for the instance by its name, a Kubernetes Lease for a cluster by a hash.
    is_by_redis = found.get("cluster") == store.keys.instance
    is_fresh = seen_at is not None and (at - seen_at).total_seconds() < _ALIVE_SECONDS
    return Leader(
        holder=found.get("holder", ""),
        epoch=number(found.get("epoch")),
        seen_at=seen_at,
        is_alive=lease is not None if is_by_redis else is_fresh,
        election="redis" if is_by_redis else "kubernetes",
    )


def scheduler_infos(store: Store) -> list[SchedulerInfo]:
    """Return the schedulers that have published an entry within the last hour, the leader first."""
    found = store.client.hgetall(store.keys.schedulers).values()
    entries = [
        entry for entry in (SchedulerInfo.from_text(text(each)) for each in found) if entry is not None
    ]
    return sorted(entries, key=lambda entry: (entry.epoch is None, -(entry.epoch or 0), entry.holder))


def workers(store: Store) -> WorkersView:
    """Return the workers, and whether releases differ."""
    found, at = worker_infos(store), redis_time.now(store)
    alive = [each for each in scheduler_infos(store) if each.is_alive(at)]
    troubles = (*problems.of_workers(found), *problems.version_skew(__version__, alive, found))
    return WorkersView(now=at, workers=tuple(found), troubles=troubles)


def worker_infos(store: Store) -> list[WorkerInfo]:
    """Return the workers that RQ lists, by name."""
    client, keys = store.client, store.keys
    known = sorted(keys.worker_name(key) for key in client.smembers(keys.workers))
    with client.pipeline(transaction=False) as pipe:
        for name in known:
            pipe.hmget(keys.worker(name), _WORKER_FIELDS)
            pipe.exists(keys.alive(name))
            pipe.scard(keys.worker_executions(name))
            pipe.llen(keys.claims(name))
        answers = pipe.execute()
    return [
        WorkerInfo.from_fields(
            name, fields(_WORKER_FIELDS, values), is_alive=bool(alive), running=running, claimed=claimed
        )
        for name, values, alive, running, claimed in zip(
            known, answers[0::4], answers[1::4], answers[2::4], answers[3::4], strict=True
        )
    ]


def queues(store: Store) -> QueuesView:
    """Return the queues."""
    return QueuesView(queues=tuple(queue_infos(store)), now=redis_time.now(store))


def queue_infos(store: Store) -> list[QueueInfo]:
    """Return the queues that RQ knows, by name."""
    known = names.queues(store)
    keys = store.keys
    with store.client.pipeline(transaction=False) as pipe:
        for name in known:
            pipe.llen(keys.queue(name))
            pipe.lindex(keys.queue(name), 0)
            for registry in _OPEN:
                pipe.zcard(keys.registry(registry, name))
            pipe.scard(keys.queue_workers(name))
            for registry in _ENDED:
                pipe.zcard(keys.registry(registry, name))
        answers = pipe.execute()
    rows = [answers[start : start + 9] for start in range(0, len(answers), 9)]
    with store.client.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.hget(keys.run(text(row[1])), "enqueued_at")
        heads = pipe.execute()
    return [
        QueueInfo(
            queue=name,
            queued=queued,
            oldest_queued_at=instant(text(at)) if queued else None,
            running=running,
            waiting=waiting,
            held=held,
            workers=serving,
            kept=failed + finished + canceled,
            kept_failed=failed,
        )
        for name, (queued, _, running, waiting, held, serving, failed, finished, canceled), at in zip(
            known, rows, heads, strict=True
        )
    ]


def server_info(store: Store) -> ServerInfo:
    """Return what Redis says of itself, as far as this user may ask."""
    address = address_of(store.client)
    with store.client.pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.info("memory")
        pipe.hget(store.keys.fence, "lost_at")
        about, memory, lost_at = pipe.execute(raise_on_error=False)
    lost = milliseconds_as_instant(lost_at)
    if not isinstance(about, dict) or not isinstance(memory, dict):
        return ServerInfo(address=address, lost_at=lost)
    return ServerInfo(
        address=address,
        version=about.get("valkey_version") or about.get("redis_version"),
        memory_bytes=memory.get("used_memory"),
        memory_max_bytes=memory.get("maxmemory"),
        lost_at=lost,
    )
