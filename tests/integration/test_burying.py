"""RQ's lists of workers do not grow with every worker that is killed."""

from kuber_cron.common.store import Keys, Store

KEYS = Keys("rq")


def test_a_worker_whose_hash_has_expired_leaves_the_lists_and_a_live_one_stays(redis_client):
    redis_client.hset(KEYS.own("fence"), "epoch", 1)
    redis_client.sadd("rq:queues", KEYS.queue("default"))
    for name in ("dead", "live"):
        redis_client.sadd("rq:workers", f"rq:worker:{name}")
        redis_client.sadd("rq:workers:default", f"rq:worker:{name}")
    redis_client.hset("rq:worker:live", "birth", "now")
    store = Store(redis_client, KEYS)
    assert store.call("bury", 1, "") == [b"OK", b"rq:worker:dead"]
    assert (
        redis_client.smembers("rq:workers")
        == redis_client.smembers("rq:workers:default")
        == {b"rq:worker:live"}
    )
    assert store.call("bury", 1, "") == [b"OK"]


def test_a_fenced_leader_buries_nobody(redis_client):
    redis_client.hset(KEYS.own("fence"), "epoch", 2)
    redis_client.sadd("rq:workers", "rq:worker:dead")
    assert Store(redis_client, KEYS).call("bury", 1, "")[0] == b"FENCED"
    assert redis_client.scard("rq:workers") == 1
