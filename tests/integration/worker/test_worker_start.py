"""A worker that begins while Redis is no help: it says so in the words of every other command."""

import os

import pytest
from prometheus_client import CollectorRegistry
from tests.support.clients import clients
from tests.support.workers import KEYS

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import RedisRefusedError, RedisUnreachableError
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.worker.coordination.worker_context import WorkerOptions
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.service import Worker


def begin(connect, directory):
    registry = CollectorRegistry()
    worker = Worker(
        WorkerOptions(keys=KEYS, log_dir=directory, environ=dict(os.environ)),
        connect=connect,
        clock=SystemClock(),
        metrics=WorkerMetrics(registry, slots=4, alone=True),
        job_metrics=JobMetrics(registry),
    )
    worker.start()


def test_a_redis_that_went_away_is_named_with_a_remedy(tmp_path):
    with (
        clients(f"unix://{tmp_path}/nobody.sock") as connect,
        pytest.raises(RedisUnreachableError, match="unreachable") as raised,
    ):
        begin(connect, tmp_path)
    assert "--redis-url" in raised.value.hint


def test_a_redis_that_refuses_the_registration_is_named_with_a_remedy(redis_client, redis_url, tmp_path):
    may = ["+@all", "-hset"]
    redis_client.acl_setuser("starts", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=may)
    try:
        with (
            clients(redis_url.replace("unix://", "unix://starts:x@")) as connect,
            pytest.raises(RedisRefusedError) as raised,
        ):
            begin(connect, tmp_path)
    finally:
        redis_client.acl_deluser("starts")
    assert "ACL" in raised.value.hint
