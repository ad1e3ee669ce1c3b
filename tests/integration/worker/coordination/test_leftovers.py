"""What a dead or cut-off worker leaves behind: claims in nobody's care, commands that go on."""

import os
import signal
import subprocess

import pytest
from rq.queue import Queue
from rq.serializers import JSONSerializer
from tests.support import workers
from tests.support.stepped import KEYS, T0, job
from tests.support.waiting import eventually
from tests.support.workers import ended, push, status

from kuber_cron.worker.coordination import claimer
from kuber_cron.worker.execution import leftover_processes
from kuber_cron.worker.execution.environment import EXECUTION, RUN


def test_a_worker_that_comes_back_after_its_claims_were_returned_is_looked_after_again(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 2)
    worker.die()
    made.client.delete(KEYS.seen("worker"))  # a day has passed
    made.tidy()
    assert made.client.smembers(KEYS.claimers) == set()
    worker.ledger.heartbeat([], T0)
    assert worker.claim() == made.run(1)
    worker.die()
    made.tidy()
    assert made.queued() == [made.run(1), made.run(2)]


def test_a_claim_that_arrives_after_its_worker_was_given_up_is_returned_too(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 1)
    worker.die()
    made.tidy()
    assert worker.claim() == made.run(1)  # sent before, and held up on its way
    made.tidy()
    assert made.queued() == [made.run(1)]


@pytest.fixture
def straggler():
    """A command that has outlived its worker, in a session of its own; made with its execution's id."""
    made = []

    def start(execution, run="another"):
        process = subprocess.Popen(
            ["sleep", "60"], env=os.environ | {EXECUTION: execution, RUN: run}, start_new_session=True
        )
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()


def test_a_worker_that_takes_a_lost_run_kills_what_goes_on_of_its_earlier_attempt_first(
    make_leader, worker, redis_url, tmp_path, straggler
):
    made = make_leader(job(command="true"))
    made.minutes(0, 1)
    run = worker.take()
    mine, anothers = straggler(worker.running[run]), straggler("another")
    worker.die()
    made.tidy()
    with workers.worker(redis_url, tmp_path):
        assert ended(made.client, run).is_finished
    assert mine.wait(60) == -signal.SIGKILL
    assert anothers.poll() is None


def test_a_worker_that_starts_kills_what_an_earlier_one_left_of_runs_that_others_have_now(
    make_leader, worker, redis_url, tmp_path, straggler
):
    made = make_leader(job(command="true"))
    made.minutes(0, 1)
    run = worker.take()
    mine, anothers = straggler(worker.running[run], run), straggler("another", run)
    with workers.worker(redis_url, tmp_path, queues=["another"]):
        worker.die()
        made.tidy()
        assert mine.wait(60) == -signal.SIGKILL
    assert anothers.poll() is None
    assert made.status(1) == "queued"


def test_a_worker_that_starts_leaves_alone_what_an_attempt_left_that_ended_by_itself(
    make_leader, worker, redis_url, tmp_path, straggler
):
    made = make_leader(job(command="true"))
    made.minutes(0, 1)
    run = worker.take()
    daemon = straggler(worker.running[run], run)
    # Such a result has a value; what the leader finds lost has none.
    made.client.xadd(f"rq:results:{run}", {"execution_id": worker.running[run], "return_value": "bnVsbA=="})
    worker.end(run)
    with workers.worker(redis_url, tmp_path) as made_worker:
        made_worker._cleanup.end_lost_attempts()
    assert daemon.poll() is None


def test_a_retry_begins_without_what_the_failed_attempt_left(redis_client, redis_url, tmp_path):
    command = "if [ $KUBER_CRON_ATTEMPT = 1 ]; then setsid sleep 61 >/dev/null 2>&1 & exit 1; fi"
    run = push(redis_client, job(command=command, retries=1))
    with workers.worker(redis_url, tmp_path):
        eventually(lambda: status(redis_client, run) == "scheduled")
        assert run in {of for of, _ in leftover_processes.attempts()}
        redis_client.zrem("rq:scheduled:default", run)
        redis_client.hset(KEYS.run(run), "status", "queued")
        redis_client.rpush(KEYS.queue("default"), run)
        assert ended(redis_client, run).is_finished
    assert run not in {of for of, _ in leftover_processes.attempts()}


def test_a_claim_that_arrives_after_its_worker_has_given_it_up_is_started(
    redis_client, redis_url, tmp_path, monkeypatch
):
    monkeypatch.setattr(claimer, "_CHECK_SECONDS", 0.5)
    with workers.worker(redis_url, tmp_path) as made:
        assert ended(redis_client, push(redis_client, job(command="true"))).is_finished
        run = push(redis_client, job(command="true"), queue="elsewhere")
        redis_client.lmove("rq:queue:elsewhere", KEYS.claims(made.name), "LEFT", "RIGHT")
        assert ended(redis_client, run).is_finished


def test_an_id_that_is_not_to_be_started_is_dropped_and_counted(redis_client, redis_url, tmp_path):
    run = push(redis_client, job(command="true"))
    with workers.worker(redis_url, tmp_path) as made:
        assert ended(redis_client, run).is_finished
        redis_client.rpush("rq:queue:default", run)
        eventually(lambda: made.registry.get_sample_value("cron_claims_dropped_total") == 1)


def test_a_foreign_job_that_is_lost_keeps_no_other_from_being_found(make_leader, worker):
    made = make_leader(job(command="true", queue="default"))
    theirs = Queue("default", connection=made.client, serializer=JSONSerializer).enqueue("os.getpid")
    made.minutes(0, 1)
    assert [worker.take(), worker.take()] == [theirs.id, made.run(1)]
    worker.die()
    made.tidy()
    assert set(made.queued()) == {theirs.id, made.run(1)}
    assert made.client.hgetall(KEYS.lost) == {b"job": b"1"}
    theirs.delete()
