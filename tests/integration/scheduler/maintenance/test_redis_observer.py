"""What the leader reads from Redis for its metrics, and what the scripts leave there for it."""

import pytest
import redis
from tests.support.stepped import KEYS, SteppedLeader, SteppedWorker, job, minute

from kuber_cron.scheduler.maintenance.redis_observer import LastRun, RedisObserver, read


@pytest.fixture
def worker(redis_client):
    return SteppedWorker(redis_client)


def last_run(leader: SteppedLeader, name: str = "job") -> LastRun:
    return read(leader.store, [name]).jobs[name]


def test_a_new_job_is_expected_to_succeed_from_its_first_sight_on(redis_client):
    leader = SteppedLeader(redis_client, job())
    leader.decide(minute(0))
    assert last_run(leader) == LastRun(expected_from=minute(0).timestamp())


def test_an_edited_schedule_is_an_excuse_up_to_the_edit(redis_client):
    leader = SteppedLeader(redis_client, job())
    leader.decide(minute(0))
    leader.edit(job(schedule="*/5 * * * *"))
    leader.decide(minute(3))
    assert last_run(leader).expected_from == minute(3).timestamp()


def test_suspended_instants_are_excuses_and_others_that_were_not_queued_are_none(redis_client):
    leader = SteppedLeader(redis_client, job(suspend=True))
    leader.minutes(0, 4)
    assert last_run(leader).expected_from == minute(4).timestamp()
    leader.edit(job(concurrency="forbid"))
    leader.minutes(5, 9)
    assert leader.words()[-2:] == ["skipped overlap", "skipped overlap"]
    assert last_run(leader).expected_from == minute(4).timestamp()


def test_a_paused_job_is_excused(redis_client):
    leader = SteppedLeader(redis_client, job())
    leader.decide(minute(0))
    redis_client.hset(KEYS.paused, "job", 0)
    leader.minutes(1, 3)
    assert last_run(leader).expected_from == minute(3).timestamp()


def test_an_excuse_that_cannot_be_written_costs_no_decision(redis_client):
    redis_client.set(KEYS.stats("job"), "somebody else's")
    leader = SteppedLeader(redis_client, job(suspend=True))
    leader.minutes(0, 1)
    assert leader.words() == ["moved first seen", "skipped suspended"]
    redis_client.delete(KEYS.stats("job"))


def test_a_job_is_failing_from_a_final_failure_to_the_next_success(redis_client, worker):
    leader = SteppedLeader(redis_client, job())
    leader.minutes(0, 2)
    run = worker.take()
    worker.end(run, "retry", delay=0)
    assert not last_run(leader).is_failing
    worker.end(worker.take(), "fail", at=minute(2))
    failed = last_run(leader)
    assert failed.is_failing
    assert (failed.ended_at, failed.success_at) == (minute(2).timestamp(), None)
    leader.tidy()
    worker.end(worker.take(), at=minute(3))
    recovered = last_run(leader)
    assert not recovered.is_failing
    assert (recovered.success_at, recovered.duration_seconds) == (minute(3).timestamp(), 1.0)


def test_a_run_that_a_newer_one_replaced_is_no_failure(redis_client, worker):
    leader = SteppedLeader(redis_client, job(concurrency="replace"))
    leader.minutes(0, 1)
    worker.take()
    leader.decide(minute(2))
    worker.end(leader.run(1), "stop", "replaced")
    assert not last_run(leader).is_failing


def test_each_queue_is_told_with_the_workers_that_serve_it(redis_client):
    leader = SteppedLeader(redis_client, job("a"), job("b", queue="batch"))
    leader.minutes(0, 1)
    redis_client.sadd(f"{KEYS.prefix}:workers:batch", "one", "two")
    queues = read(leader.store, []).queues
    assert {name: (queue.depth, queue.workers) for name, queue in queues.items()} == {
        "batch": (1, 2),
        "default": (1, 0),
    }
    redis_client.delete(f"{KEYS.prefix}:workers:batch")


def test_after_the_first_look_only_what_has_changed_is_read_and_it_is_told_with_the_rest(
    redis_client, worker
):
    leader = SteppedLeader(redis_client, job("a"), job("b"))
    observer = RedisObserver(leader.store)
    leader.minutes(0, 1)
    first = observer.observe(leader.catalog.entries)
    assert first.jobs == {name: LastRun(expected_from=minute(0).timestamp()) for name in ("a", "b")}
    run = worker.take()
    worker.end(run, at=minute(1))
    second = observer.observe(leader.catalog.entries)
    ended = run.rpartition("-")[0]
    assert second.jobs[ended].success_at == minute(1).timestamp()
    assert second.ended == {(ended, "success"): 1}
    third = observer.observe(leader.catalog.entries)
    assert (third.jobs, third.ended) == (second.jobs, second.ended)
    assert not redis_client.exists(KEYS.changed)


def test_what_nobody_told_of_is_seen_in_its_turn_and_a_job_that_is_gone_is_told_no_more(redis_client):
    leader = SteppedLeader(redis_client, job("a"), job("b"))
    observer = RedisObserver(leader.store)
    observer.observe(leader.catalog.entries)
    redis_client.hset(KEYS.stats("b"), mapping={"failing": "a run"})
    redis_client.hincrby(KEYS.ended, "b|failed", 1)
    assert observer.observe(leader.catalog.entries).jobs["b"].is_failing
    for _ in range(12):
        seen = observer.observe(leader.catalog.entries)
    assert seen.ended == {("b", "failed"): 1}
    leader.edit(job("a"))
    assert list(observer.observe(leader.catalog.entries).jobs) == ["a"]


def test_after_an_error_every_job_is_looked_at_again(redis_client):
    leader = SteppedLeader(redis_client, job("a"))
    observer = RedisObserver(leader.store)
    observer.observe(leader.catalog.entries)
    leader.minutes(0, 0)
    redis_client.set(KEYS.acted, "no hash")
    with pytest.raises(redis.ResponseError):
        observer.observe(leader.catalog.entries)
    redis_client.delete(KEYS.acted)
    assert observer.observe(leader.catalog.entries).jobs["a"].expected_from == minute(0).timestamp()
