"""Fixtures of a real cluster: one installation of k8s/overlays/dev for all tests, and what they need beside it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest
import redis
from tests.e2e.kubernetes.installation import NAMESPACE, Helpers, Installation
from tests.e2e.kubernetes.kubectl import Forward, Kubectl, found
from tests.e2e.stack import PublishedRedis
from tests.support.waiting import eventually


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """For the namespace of the installation, which is not there yet."""
    made = found(NAMESPACE)
    if made.has("namespace", NAMESPACE):
        pytest.fail(
            f"the namespace {NAMESPACE} is there already, and these tests would change and delete what is in it:"
            f" make sure that nobody needs it, then `kubectl delete namespace {NAMESPACE}`"
        )
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """How it went: seconds after `kubectl apply` was called, and how often each pod's container was started again."""

    first_run: float
    well: float
    restarts: dict[str, int]


@pytest.fixture(scope="session")
def applied(kubectl: Kubectl) -> Iterator[tuple[Installation, float]]:
    """`kubectl apply -k k8s/overlays/dev` and nothing else, and when; nothing is left afterwards."""
    made = Installation(kubectl)
    began = time.time()
    try:
        made.apply()
        yield made, began
    finally:
        made.delete()


@pytest.fixture(scope="session")
def server(applied: tuple[Installation, float]) -> Iterator[PublishedRedis]:
    """Its Redis, as it is reached from here."""
    made, _ = applied
    eventually(lambda: made.kubectl.has("secret", "kuber-cron-redis"), 60, every=0.5)
    with Forward(made.kubectl, "pod/kuber-cron-redis-0", 6379) as way:
        yield PublishedRedis(way.port, made.password())


@pytest.fixture(scope="session")
def began(applied: tuple[Installation, float], server: PublishedRedis) -> Began:
    """How long it took."""
    made, at = applied
    first = eventually(lambda: first_end(server), 120, every=0.3)
    made.wait_until_well()
    well = time.time()
    restarts = {name: made.restarts(name) for name in made.names()}
    return Began(first_run=first - at, well=well - at, restarts=restarts)


def first_end(server: PublishedRedis) -> float:
    """When the first command ended with success; 0 while none has, or Redis does not answer yet."""
    try:
        with server.client() as client:
            runs = [client.hmget(key, "status", "ended_at") for key in client.keys("rq:job:*")]
    except redis.RedisError:
        return 0.0
    return min(
        (datetime.fromisoformat(ended).timestamp() for status, ended in runs if status == "finished"),
        default=0.0,
    )


@pytest.fixture
def installation(applied: tuple[Installation, float], began: Began) -> Installation:
    """All of it well."""
    made, _ = applied
    made.wait_until_well()
    return made


@pytest.fixture(scope="session")
def helpers(kubectl: Kubectl) -> Iterator[Helpers]:
    """What the tests need beside it."""
    made = Helpers(kubectl)
    made.end()  # what a session that was broken off has left
    try:
        made.start()
        yield made
    finally:
        made.end()
