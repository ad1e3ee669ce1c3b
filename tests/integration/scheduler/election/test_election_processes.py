"""Real schedulers, a real Redis and the API server's double: what a whole process makes of a fault."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.elections import KEYS
from tests.support.schedulers import Schedulers
from tests.support.waiting import eventually


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def replicas(api: ApiServer, redis_url: str, tmp_path: Path) -> Iterator[Schedulers]:
    """None is up yet. Each one's token is its name, so that a fault can strike it alone."""
    made = Schedulers(redis_url, api.kubeconfig(tmp_path / "kubeconfig"), tmp_path)
    yield made
    made.end()


def start(replicas: Schedulers, api: ApiServer, *names: str) -> None:
    for name in names:
        replicas.start(name, api.kubeconfig(replicas.directory / f"{name}.kubeconfig", token=name))


def test_a_scheduler_that_is_forbidden_its_lease_is_alive_and_not_ready_and_says_what_it_needs(api, replicas):
    api.inject("forbidden")
    start(replicas, api, "a")
    eventually(lambda: replicas.says("a", "reading or writing the lease failed"))
    status, answer = replicas.health("a", "/readyz")
    assert status == 503
    assert "k8s/base/rbac.yaml" in answer["checks"]["lease"]
    assert replicas.health("a", "/livez")[0] == 200
    api.clear()
    eventually(lambda: replicas.health("a", "/readyz")[0] == 200)


@pytest.mark.slow
def test_a_leader_and_its_standbys_are_ready(api, replicas):
    start(replicas, api, "a", "b")
    leader, epoch = replicas.leader()
    answers = {name: eventually(lambda name=name: ready(replicas, name)) for name in "ab"}
    assert {name: answer["leader"] for name, answer in answers.items()} == {
        name: name == leader for name in "ab"
    }
    assert answers[leader]["epoch"] == epoch


def ready(replicas: Schedulers, name: str) -> dict | None:
    status, answer = replicas.health(name, "/readyz")
    return answer if status == 200 else None


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4, 20])
def test_a_leader_stopped_for_longer_than_its_lease_wakes_as_a_standby(api, replicas, seconds):
    start(replicas, api, "a", "b", "c")
    leader, epoch = replicas.leader()
    replicas.send(leader, signal.SIGSTOP)
    successor, later = replicas.leader(epoch)
    assert successor != leader
    decided = len(replicas.decisions())
    eventually(lambda: len(replicas.decisions()) >= decided + seconds, seconds + 20)  # one a second
    replicas.send(leader, signal.SIGCONT)
    eventually(lambda: replicas.says(leader, "leadership lost"))
    decided = len(replicas.decisions())
    eventually(lambda: len(replicas.decisions()) >= decided + 2)
    assert replicas.leader(later - 1) == (successor, later)
    replicas.nothing_is_lost_or_doubled(8)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "drop", "error", "throttle", "unauthorized", "commit_then_hang"])
def test_an_api_server_that_serves_nobody_costs_neither_the_term_nor_an_instant(api, replicas, fault):
    start(replicas, api, "a", "b")
    leader, epoch = replicas.leader()
    decided = len(replicas.decisions())
    api.inject(fault)
    eventually(lambda: len(replicas.decisions()) >= decided + 8, 20)
    if fault != "commit_then_hang":  # there the renewals are written, and only their answers are lost
        assert replicas.says(leader, "failsafe")
    api.clear()
    decided = len(replicas.decisions())
    eventually(lambda: len(replicas.decisions()) >= decided + 4)
    assert replicas.leader(epoch - 1) == (leader, epoch)
    replicas.nothing_is_lost_or_doubled(12)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "drop", "error"])
def test_a_leader_that_alone_cannot_reach_the_api_server_is_fenced_by_its_successor(api, replicas, fault):
    start(replicas, api, "a", "b", "c")
    leader, epoch = replicas.leader()
    api.inject(fault, token=leader)
    successor, later = replicas.leader(epoch)
    assert successor != leader
    eventually(lambda: replicas.says(leader, "leadership lost"))
    decided = len(replicas.decisions())
    eventually(lambda: len(replicas.decisions()) >= decided + 3)
    assert replicas.leader(later - 1) == (successor, later)
    replicas.nothing_is_lost_or_doubled(6)


@pytest.mark.slow
def test_a_leader_leaves_at_a_minutes_turn_only_when_it_is_over(api, replicas):
    start(replicas, api, "a", "b")
    leader, epoch = replicas.leader()

    def second() -> float:
        seconds, micros = replicas.client.time()
        return seconds % 60 + micros / 1e6

    eventually(lambda: 58.3 < second() < 59.3, 70)
    replicas.kill(leader, signal.SIGTERM)
    assert 2.0 <= second() < 30
    assert replicas.leader(epoch)[0] != leader
    log = replicas.client.xrange(KEYS.log(replicas.job()))
    at_the_turn = [entry for _, entry in log if int(entry[b"first"]) % 60 in {0, 1}][-2:]
    assert {int(entry[b"epoch"]) for entry in at_the_turn} == {epoch}
    replicas.nothing_is_lost_or_doubled(5)
