"""What people do in rq-dashboard and with ``rq`` works as they expect, and is written down as done by hand."""

from rq.job import Job as RQJob
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker


def requeue(client, run):
    """The button Requeue, and `rq requeue`."""
    FailedJobRegistry("default", connection=client, serializer=JSONSerializer).requeue(run)


def test_a_failed_run_that_is_requeued_is_attempted_once_more_as_manual(redis_client, redis_url, tmp_path):
    mended = tmp_path / "mended"
    run = push(redis_client, job("byhand", f"test -e {mended}"))
    with worker(redis_url, tmp_path / "logs"):
        assert ended(redis_client, run).is_failed
        mended.touch()
        requeue(redis_client, run)
        eventually(lambda: status(redis_client, run) == "finished")
    assert redis_client.hmget(KEYS.run(run), "attempt", "manual") == [b"2", b"1"]
    logged = [fields for _, fields in redis_client.xrange(KEYS.log("byhand"))]
    assert [(each[b"decision"], each[b"reason"]) for each in logged] == [(b"requeued", b"manual")]
    assert redis_client.hlen(KEYS.open_runs) == 0


def test_a_stopped_run_that_is_requeued_is_not_stopped_again(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("stopped", "false"))
    with worker(redis_url, tmp_path):
        assert ended(redis_client, run).is_failed
        redis_client.hset(KEYS.run(run), "stop", "by somebody")
        requeue(redis_client, run)
        eventually(lambda: redis_client.hget(KEYS.run(run), "attempt") == b"2")
        eventually(lambda: status(redis_client, run) == "failed")
    assert redis_client.hget(KEYS.run(run), "outcome") == b"failed"


def test_a_running_command_whose_run_is_deleted_is_killed(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("deleted", "sleep 60"))
    with worker(redis_url, tmp_path, ttl_seconds=4.0) as made:
        eventually(made.running)
        RQJob.fetch(run, connection=redis_client, serializer=JSONSerializer).delete()
        eventually(lambda: not made.running())
    assert redis_client.exists(KEYS.run(run)) == 0
