"""The fence's scripts on a real Redis, word by word, and the channel of released leases."""

import threading
from collections.abc import Iterator

import pytest
import redis
from tests.support.elections import KEYS
from tests.support.waiting import eventually

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.redis_store import connections
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.election.fence import Fence
from kuber_cron.scheduler.election.release_listener import ReleaseListener

TTL = 15.0


@pytest.fixture
def fences(redis_url: str) -> Iterator["Fences"]:
    made = Fences(redis_url)
    yield made
    for client in made.clients:
        client.close()


class Fences:
    """Fences of several processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clients: list[redis.Redis] = []

    def __call__(self, holder: str, cluster: str = "one") -> Fence:
        client = connections.open_client(self.url, "deciding")
        self.clients.append(client)
        clock = SystemClock()
        return Fence(
            Store(client, KEYS),
            clock=clock,
            server_clock=RedisClock(clock),
            holder=holder,
            cluster=cluster,
            ttl_seconds=TTL,
        )


def stored(client: redis.Redis) -> dict[str, str]:
    return {field.decode(): value.decode() for field, value in client.hgetall(KEYS.fence).items()}


def word(answer) -> tuple[str, int, str]:
    return answer.verdict, answer.epoch, answer.who


def test_a_larger_epoch_is_claimed_and_keeps_what_else_the_fence_holds(fences, redis_client):
    redis_client.hset(KEYS.fence, mapping={"epoch": 6, "holder": "old", "through": 9, "server": "x"})
    assert word(fences("me").claim(7)) == ("CLAIMED", 7, "me")
    kept = stored(redis_client)
    assert (kept["epoch"], kept["holder"], kept["cluster"]) == ("7", "me", "one")
    assert (kept["through"], kept["server"]) == ("9", "x")


def test_a_claim_may_be_repeated_by_its_holder_alone(fences):
    me, other = fences("me"), fences("other")
    assert word(me.claim(7)) == word(me.claim(7)) == ("CLAIMED", 7, "me")
    assert word(other.claim(7)) == ("STALE", 7, "me")
    assert word(other.claim(6)) == ("STALE", 7, "me")


def test_another_cluster_is_refused_as_long_as_it_was_seen_within_three_leases(fences, redis_client):
    here, there = fences("here"), fences("there", cluster="two")
    here.claim(7)
    assert word(there.check(0)) == word(there.claim(8)) == ("OTHER_CLUSTER", 7, "one")
    assert stored(redis_client)["epoch"] == "7"
    long_ago = int(stored(redis_client)["seen"]) - int(3 * TTL * 1000) - 100
    redis_client.hset(KEYS.fence, "seen", long_ago)
    assert word(there.claim(8)) == ("CLAIMED", 8, "there")
    assert word(here.check(7)) == ("OTHER_CLUSTER", 8, "two")


def test_a_look_shows_that_its_own_term_is_alive_and_no_other(fences, redis_client):
    me, other = fences("me"), fences("other")
    me.claim(7)
    redis_client.hset(KEYS.fence, mapping={"seen": 5, "through": 12})
    assert other.check(7).through == 12
    assert me.check(6).epoch == 7
    assert stored(redis_client)["seen"] == "5"
    me.check(7)
    assert stored(redis_client)["seen"] != "5"


def test_an_empty_redis_holds_epoch_0(fences):
    assert word(fences("me").check(0)) == ("CHECKED", 0, "")


def test_the_leases_key_is_taken_renewed_and_released_by_its_holder_alone(fences, redis_client):
    me, other = fences("me"), fences("other")
    assert word(me.acquire_lease(0)) == ("ACQUIRED", 1, "me")
    assert word(other.acquire_lease(0)) == ("HELD", 1, "me:1")
    assert word(me.acquire_lease(0)) == ("HELD", 1, "me:1")
    assert word(me.renew_lease(1)) == ("RENEWED", 1, "me")
    assert word(other.renew_lease(1)) == word(other.release_lease(1)) == ("LOST", 1, "me:1")
    assert word(me.release_lease(1)) == ("RELEASED", 1, "me")
    assert word(other.acquire_lease(41)) == ("ACQUIRED", 42, "other")
    assert 0 < redis_client.pttl(KEYS.lease) <= TTL * 1000


def test_a_fence_of_the_wrong_kind_is_told_as_a_redis_that_does_not_answer(fences, redis_client):
    redis_client.set(KEYS.fence, "text")
    with pytest.raises(RedisUnreachableError, match="WRONGTYPE"):
        fences("me").claim(1)


def test_each_answer_measures_the_offset_of_the_own_clock(fences):
    fence = fences("me")
    before = fence._server_clock._error
    fence.check(0)
    assert fence._server_clock._error < before


def listeners(client):
    return {each["id"] for each in client.client_list(_type="pubsub")}


@pytest.fixture
def own_redis(redis_server):
    """The URL of a server where nobody else listens."""
    return redis_server().url


def test_a_release_is_heard_also_after_the_connection_was_killed(own_redis):
    fences, redis_client, redis_url = (
        Fences(own_redis),
        redis.Redis.from_url(own_redis, protocol=2),
        own_redis,
    )
    heard = threading.Semaphore(0)
    listener = ReleaseListener(lambda: connections.open_client(redis_url, "deciding"), KEYS, heard.release)
    listener.start()
    try:
        me = fences("me")
        for _ in range(2):
            while heard.acquire(blocking=False):
                pass  # what was heard before the connection was killed

            # redis-py subscribes anew before it tells of a broken connection, and that one is closed again.
            def is_heard():
                me.publish_release()
                return heard.acquire(timeout=0.5)

            eventually(is_heard, 60)
            killed = listeners(redis_client)
            redis_client.client_kill_filter(_type="pubsub")
            # That nobody listens lasts a second, which a busy machine may sleep through; the connection is another.
            eventually(lambda killed=killed: killed.isdisjoint(listeners(redis_client)))
    finally:
        listener.stop()
        for client in (redis_client, *fences.clients):
            client.close()
