"""Runs that only a newer version can read: they wait for it, and an old worker waits for their going."""

import json
import zlib
from dataclasses import replace

import pytest
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

from kuber_cron.common.runs import payload as runs


def push_newer(client, definition):
    """Queue a run as a scheduler of the next version would."""
    run = push(client, definition)
    made = runs.decode(runs.arguments_in(client.hget(KEYS.run(run), "data")), ())
    call = (runs.FUNCTION, None, runs.encode(replace(made, version=runs.PAYLOAD_VERSION + 1), None), {})
    client.hset(KEYS.run(run), "data", zlib.compress(json.dumps(call).encode()))
    return run


@pytest.mark.slow
def test_a_worker_is_ready_again_once_a_newer_run_has_been_taken_back(redis_client, redis_url, tmp_path):
    newer = push_newer(redis_client, job("newer"))
    old = push(redis_client, job("old"))
    with worker(redis_url, tmp_path) as made:
        eventually(lambda: "newer version" in made.checks()["worker"]())
        eventually(
            lambda: redis_client.lrange(KEYS.queue("default"), 0, -1) == [newer.encode(), old.encode()]
        )
        redis_client.lrem(KEYS.queue("default"), 0, newer)
        assert ended(redis_client, old, 30).is_finished
        eventually(lambda: made.checks()["worker"]() == "ok")
    assert status(redis_client, newer) == "queued"
    assert redis_client.xlen(KEYS.quarantine) == 0
    assert redis_client.hget(KEYS.run(newer), "attempt") == b"0"


@pytest.mark.slow
def test_a_newer_run_is_looked_at_and_not_taken_again_and_again(redis_client, redis_url, tmp_path):
    newer = push_newer(redis_client, job("newer"))
    with worker(redis_url, tmp_path) as made:
        returned = lambda: made.registry.get_sample_value(  # noqa: E731 - what eventually asks
            "cron_worker_returned_runs_total", {"reason": "newer"}
        )
        eventually(lambda: returned() == 1)
        # Two pauses later it has been looked at, from outside.
        eventually(lambda: made._context.pause.seconds_left() > 2.5, 20)
        assert returned() == 1
    assert redis_client.lrange(KEYS.queue("default"), 0, -1) == [newer.encode()]
