"""Ended runs stay readable within bounds of the job: by count, by what they take of Redis, and by age."""

import pytest
import redis
from tests.support.stepped import KEYS, job, minute, seen

from kuber_cron.common.records.history_limits import HistoryLimits
from kuber_cron.common.records.parsing import text


def kept(client, name="job"):
    """The job's ended runs that are readable, newest first."""
    listed = [text(run) for run in client.lrange(KEYS.history(name), 0, -1)]
    return [run for run in listed if client.exists(KEYS.run(run))]


def sizes(client, name="job"):
    found = {text(run): int(size) for run, size in client.hgetall(KEYS.sizes(name)).items()}
    return found.pop(""), found


def bounded(make_leader, **bounds):
    """A leader that has told the scripts of its bounds."""
    made = seen(make_leader)
    made.housekeeper._limits = HistoryLimits(**bounds)
    made.tidy()
    return made


def test_the_oldest_runs_beyond_the_number_are_dropped(make_leader, worker, redis_client):
    made = bounded(make_leader, runs=3)
    made.minutes(1, 5)
    worker.work()
    assert kept(redis_client) == [made.run(5), made.run(4), made.run(3)]
    assert redis_client.exists(KEYS.run(made.run(2)), f"rq:results:{made.run(2)}") == 0
    assert redis_client.zcard("rq:finished:default") == 3


def test_what_runs_take_is_added_up_and_the_oldest_beyond_it_are_dropped(make_leader, worker, redis_client):
    made = bounded(make_leader, size=65536)
    for number in range(1, 9):
        made.decide(minute(number))
        worker.end(worker.take(), "fail", result=["type", "2", "return_value", "x" * 15_000])
    total, each = sizes(redis_client)
    assert total == sum(each.values()) <= 65536
    assert list(each) == sorted(kept(redis_client))
    # A run of 15 KB takes about a quarter of the bound; whether a fourth one fits is the server's allocator's choice.
    assert len(each) in {3, 4}
    assert kept(redis_client)[0] == made.run(8)


def test_the_newest_run_stays_whatever_it_takes(make_leader, worker, redis_client):
    made = bounded(make_leader, size=65536)
    made.minutes(1, 2)
    for _ in range(2):
        worker.end(worker.take(), "fail", result=["type", "2", "return_value", "x" * 200_000])
    assert kept(redis_client) == [made.run(2)]


@pytest.mark.parametrize("action", ["finish", "fail", "stop"])
def test_a_run_expires_by_the_age_that_the_leader_named(make_leader, worker, redis_client, action):
    made = bounded(make_leader, seconds=1000)
    made.decide(minute(1))
    worker.end(worker.take(), action)
    for key in (KEYS.run(made.run(1)), f"rq:results:{made.run(1)}"):
        assert 990 <= redis_client.ttl(key) <= 1000


def test_a_run_that_never_started_expires_by_the_same_age(make_leader, redis_client):
    made = bounded(make_leader, seconds=1000)
    made.edit(job(concurrency="replace"))
    made.decide(minute(1))
    made.decide(minute(2))
    assert 990 <= redis_client.ttl(KEYS.run(made.run(1))) <= 1000


def test_what_has_expired_is_neither_listed_nor_counted_any_more(make_leader, worker, redis_client):
    made = bounded(make_leader)
    made.minutes(1, 4)
    worker.work()
    redis_client.delete(KEYS.run(made.run(1)), KEYS.run(made.run(2)))
    made.decide(minute(5))
    worker.work()
    total, each = sizes(redis_client)
    assert set(each) == {made.run(3), made.run(4), made.run(5)}
    assert total == sum(each.values())
    assert redis_client.llen(KEYS.history("job")) == 3


def test_a_run_that_ends_twice_is_counted_once(make_leader, worker, redis_client):
    made = bounded(make_leader)
    made.decide(minute(1))
    worker.end(worker.take(), "fail")
    redis_client.hset(KEYS.run(made.run(1)), "status", "queued")
    redis_client.zrem("rq:failed:default", made.run(1))
    redis_client.rpush("rq:queue:default", made.run(1))
    worker.work()
    total, each = sizes(redis_client)
    assert each == {made.run(1): total}


def test_a_lower_bound_is_reached_a_few_runs_at_each_end(make_leader, worker, redis_client):
    made = bounded(make_leader)
    made.minutes(1, 30)
    worker.work()
    made.housekeeper._limits = HistoryLimits(runs=5)
    made.housekeeper._limited_in = 0
    made.tidy()
    for number, left in ((31, 21), (32, 12), (33, 5)):
        made.decide(minute(number))
        worker.work()
        assert len(kept(redis_client)) == left


def test_every_leader_tells_of_its_own_bounds(make_leader, redis_client):
    made = bounded(make_leader, runs=3)
    other = make_leader(job(), holder="other")
    other.lead(2)
    other.housekeeper._limits = HistoryLimits(runs=7)
    other.tidy()
    assert redis_client.hget(KEYS.history_limits, "runs") == b"7"
    made.term = other.term


def test_a_server_that_may_not_be_asked_for_sizes_costs_no_end(make_leader, worker, redis_client, redis_url):
    """MEMORY may be closed to the user by its ACL: the size is then a guess."""
    made = seen(make_leader)
    made.decide(minute(1))
    run = worker.take()
    redis_client.acl_setuser(
        "narrow", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-memory"]
    )
    try:
        # A pool of its own: removing the user also cuts its connections, and one that went back
        # to the shared pool would meet whoever asks next.
        with redis.Redis.from_url(redis_url, protocol=2, username="narrow", password="any") as narrow:
            worker.ledger._store.client = narrow
            assert worker.end(run) == "DONE"
    finally:
        redis_client.acl_deluser("narrow")
    assert sizes(redis_client)[1] == {run: 4096}
