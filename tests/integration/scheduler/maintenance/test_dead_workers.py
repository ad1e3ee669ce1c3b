"""RQ's lists of workers do not grow with every worker that is killed."""

from tests.support.stepped import KEYS, job

from kuber_cron.common.redis_store.scripts import Store

LISTS = ("rq:workers", "rq:workers:default", "rq:workers:never-used")


def register(client, *names):
    for name in names:
        for listed in LISTS:
            client.sadd(listed, f"rq:worker:{name}")


def listed(client):
    return [{name.decode().removeprefix("rq:worker:") for name in client.smembers(key)} for key in LISTS]


def test_a_dead_worker_leaves_the_list_of_each_queue_used_or_not_and_a_live_one_stays(make_leader):
    made = make_leader(job())
    made.client.sadd("rq:queues", KEYS.queue("default"))
    register(made.client, "dead", "live")
    made.client.hset("rq:worker:live", "birth", "now")
    made.client.zadd("rq:worker:dead:executions", {"run:execution": 1})
    for _ in range(5):  # it is not done in each round
        made.tidy()
    assert listed(made.client) == [{"live"}] * 3
    assert not made.client.exists("rq:worker:dead:executions")


def test_as_long_as_nobody_has_died_nobody_is_found(redis_client):
    redis_client.hset(KEYS.fence, "epoch", 1)
    register(redis_client, "live")
    redis_client.hset("rq:worker:live", "birth", "now")
    assert Store(redis_client, KEYS).call("find_dead_workers", 1, "") == [b"OK"]


def test_a_fenced_leader_removes_nobody(redis_client):
    redis_client.hset(KEYS.fence, "epoch", 2)
    register(redis_client, "dead")
    assert Store(redis_client, KEYS).call("remove_dead_workers", 1, "", *LISTS)[0] == b"FENCED"
    assert listed(redis_client) == [{"dead"}] * 3
