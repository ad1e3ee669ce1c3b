"""What holds for every election: on a lease in memory, on the API server's double, on Redis' own key, on a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.support.api_server import ApiServer
from tests.support.elections import KEYS, Electorate, electorate, epoch_of
from tests.support.memory_lease import MemoryLease
from tests.support.waiting import eventually

pytest_plugins = ["tests.support.real_cluster_fixture"]


@pytest.fixture(params=["memory", "double", "redis", pytest.param("cluster", marks=pytest.mark.cluster)])
def voters(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[Electorate]:
    if request.param == "redis":
        with electorate(redis_url, None) as made:
            yield made
    elif request.param == "memory":
        with electorate(redis_url, None, store=MemoryLease()) as made:
            yield made
    elif request.param == "double":
        with ApiServer() as api, electorate(redis_url, api.kubeconfig(tmp_path / "kubeconfig")) as made:
            yield made
    else:
        cluster = request.getfixturevalue("cluster")
        with (
            cluster.namespace() as namespace,
            electorate(redis_url, cluster.kubeconfig, namespace=namespace) as made,
        ):
            yield made


def fence(client: redis.Redis) -> dict[str, str]:
    return {field.decode(): value.decode() for field, value in client.hgetall(KEYS.fence).items()}


def test_the_first_to_come_leads_with_an_epoch_above_the_fence(voters, redis_client):
    redis_client.hset(KEYS.fence, mapping={"epoch": 41, "through": 7})
    one = voters.contender("one").starts()
    assert epoch_of(one) == 42
    assert one.leads().through == 7
    assert fence(redis_client)["epoch"] == "42"
    assert fence(redis_client)["holder"] == "one"


def test_one_of_three_leads_and_goes_on_leading(voters):
    for name in ("one", "two", "three"):
        voters.contender(name).starts()
    leader = voters.leader()
    epoch = epoch_of(leader)
    eventually(lambda: leader.value("cron_lease_renew_seconds_count") >= 3)
    assert voters.leader() is leader
    assert epoch_of(leader) == epoch
    assert sum(each.election.transitions for each in voters.contenders) == 1


def test_a_leader_that_leaves_is_succeeded_at_once_with_a_larger_epoch(voters):
    one = voters.contender("one").starts()
    first = epoch_of(one)
    two = voters.contender("two").starts()
    eventually(lambda: two.election.check_lease() == "ok")
    one.election.stop()
    assert one.leads() is None
    assert epoch_of(two, seconds=5) > first


def test_a_dead_leader_is_succeeded_when_its_lease_is_over_and_its_own_term_ends_before(voters):
    one = voters.contender("one").starts()
    first = epoch_of(one)
    two = voters.contender("two").starts()
    eventually(lambda: two.election.check_lease() == "ok")
    one.dies()
    overlaps = []
    eventually(
        lambda: overlaps.append(bool(one.leads() and two.leads())) or two.leads(),
        within=voters.takeover_seconds,
    )
    assert not any(overlaps)
    assert epoch_of(two) > first


def test_whoever_gives_up_may_win_again_and_with_a_new_epoch(voters):
    one = voters.contender("one").starts()
    first = epoch_of(one)
    one.election.step_down("a test wants it")
    assert epoch_of(one, lambda term: term.epoch > first) == first + 1
    assert one.election.transitions == 2


def test_a_redis_that_was_emptied_never_gives_an_epoch_twice(voters, redis_client):
    redis_client.hset(KEYS.fence, "epoch", 500)
    one = voters.contender("one").starts()
    assert epoch_of(one) == 501
    redis_client.flushall()
    assert epoch_of(one, lambda term: term.epoch > 501) == 502
    assert fence(redis_client)["epoch"] == "502"


def test_how_much_was_decided_is_known_to_the_next_leader_when_redis_has_lost_it(voters, redis_client):
    one = voters.contender("one").starts()
    epoch_of(one)
    two = voters.contender("two").starts()
    redis_client.hset(KEYS.fence, "through", 77)
    one.election.decided(77)
    renewals = one.value("cron_lease_renew_seconds_count")
    eventually(lambda: one.value("cron_lease_renew_seconds_count") >= renewals + 2)
    eventually(lambda: two.election._tenure.through == 77)
    redis_client.hset(KEYS.fence, "through", 70)
    one.election.stop()
    epoch_of(two, seconds=5)
    assert two.leads().through == 77


def test_a_leader_that_was_fenced_knows_within_a_retry_and_contests_above_the_other(voters, redis_client):
    one = voters.contender("one").starts()
    epoch_of(one)
    redis_client.hset(KEYS.fence, mapping={"epoch": 90, "holder": "another"})
    redis_client.delete(KEYS.lease)
    assert epoch_of(one, lambda term: term.epoch > 90) == 91


def test_another_installation_on_the_same_redis_is_not_disturbed(voters):
    one = voters.contender("one").starts()
    first = epoch_of(one)
    two = voters.contender("two", cluster="elsewhere").starts()
    eventually(lambda: "serves another" in two.election.check_lease())
    assert two.leads() is None
    assert epoch_of(one) == first


def test_without_redis_nobody_begins_a_term(voters, redis_url):
    one = voters.contender("one", redis_url="redis://127.0.0.1:1/0").starts()
    eventually(
        lambda: (
            one.value("cron_lease_renew_failures_total", reason="redis") or one.election._thread.is_alive()
        )
    )
    assert one.leads() is None
    assert one.election.transitions == 0
