"""A real worker on a real Redis, and runs for it: what the worker's tests share."""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from prometheus_client import CollectorRegistry
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.clients import clients
from tests.support.waiting import eventually

from kuber_cron.common.clock import Clock, SystemClock
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.worker.coordination.claim_pause import ClaimPause
from kuber_cron.worker.coordination.slots import Slots
from kuber_cron.worker.coordination.worker_context import WorkerContext, WorkerOptions
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.service import Worker

KEYS = Keys("rq")
START = datetime(2026, 1, 1, tzinfo=UTC)
_count = iter(range(10**9))


def job(name: str = "job", command: Any = "true", **policy: Any) -> Job:
    """A job with this command and policy."""
    return Job(**{"id": name, "schedule": "@every 1s", "command": command, **policy})


def push(
    client: redis.Redis, definition: Job, *, signing_key: bytes | None = None, queue: str | None = None
) -> str:
    """Queue one run of the job, as the deciding script would, or in another ``queue`` than its own; its id."""
    at = START + timedelta(seconds=next(_count))
    record = RunHashBuilder(client, signing_key).build(definition, at, datetime.now(UTC))
    client.hset(KEYS.run(record.run), items=list(record.fields))
    client.sadd("rq:queues", KEYS.queue(record.origin))
    client.rpush(KEYS.queue(queue or record.origin), record.run)
    return record.run


def context(
    registry: CollectorRegistry, *, clock: Clock | None = None, slots: int = 1, **options: Any
) -> WorkerContext:
    """A worker's context without a worker."""
    given = {"keys": KEYS, "log_dir": None, "environ": {}, "slots": slots, **options}
    metrics, clock = WorkerMetrics(registry, slots=slots, alone=True), clock or SystemClock()
    return WorkerContext(
        name="w",
        options=WorkerOptions(**given),
        slots=Slots(slots),
        clock=clock,
        metrics=metrics,
        job_metrics=JobMetrics(registry),
        pause=ClaimPause(clock, metrics),
        outage=OutageLog(clock),
    )


@contextlib.contextmanager
def worker(
    url: str,
    directory: Path,
    *,
    grace_seconds: float = 5.0,
    messenger: NotificationSender | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> Iterator[Worker]:
    """A worker that runs in threads of this process and is drained at the end."""
    registry = CollectorRegistry()
    given = {"keys": KEYS, "log_dir": directory, "environ": dict(os.environ), "slots": 4, **options}
    with clients(url, block_seconds=2.0) as connect:
        made = Worker(
            WorkerOptions(**given),
            connect=connect,
            clock=clock or SystemClock(),
            metrics=WorkerMetrics(registry, slots=given["slots"], alone=True),
            job_metrics=JobMetrics(registry),
            sender=messenger,
        )
        made.registry = registry  # type: ignore[attr-defined] # for the test's eyes only
        made.start()
        try:
            yield made
        finally:
            made.drain(grace_seconds)
            assert made.wait(grace_seconds + 15), "the worker did not end"


def status(client: redis.Redis, run: str) -> str:
    """The run's status as RQ tells it."""
    return (client.hget(KEYS.run(run), "status") or b"").decode()


def ended(client: redis.Redis, run: str, seconds: float = 15.0) -> RQJob:
    """The run once it is over, as RQ reads it."""
    eventually(lambda: status(client, run) in {"finished", "failed", "stopped"}, seconds)
    return RQJob.fetch(run, connection=client, serializer=JSONSerializer)
