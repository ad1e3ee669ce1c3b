"""`kubectl apply -k k8s/overlays/dev`: all that it takes."""

import pytest
import redis
from tests.e2e.kubernetes.installation import NAMESPACE
from tests.e2e.stack import PublishedRedis

pytestmark = [pytest.mark.e2e_kubernetes, pytest.mark.timeout(400)]

KINDS = "configmaps,secrets,services,serviceaccounts,roles,rolebindings,deployments,statefulsets,poddisruptionbudgets,persistentvolumeclaims"
READY = {"dashboard": 1, "redis": 1, "scheduler": 3, "worker": 2}


def test_the_first_run_has_ended_within_a_minute_of_apply(began, figure):
    figure(
        f"kubectl apply -k k8s/overlays/dev: the first run ended after {began.first_run:.1f} s,"
        f" all pods were ready after {began.well:.1f} s"
    )
    assert began.first_run <= 60


def test_every_pod_is_ready_and_none_had_to_start_twice(installation, began):
    assert {component: len(installation.names(component)) for component in READY} == READY
    assert {name: count for name, count in began.restarts.items() if count} == {}


def test_applying_it_again_changes_nothing(installation):
    def state():
        """What would change if anything did: who the pods are, and how often each object has been changed."""
        found = {
            pod["metadata"]["uid"] for pod in installation.pods() if "kuber-cron-secrets" not in name(pod)
        }
        for one in installation.kubectl.json("get", KINDS)["items"]:
            # The number of what the controllers count their pods in moves with the counts.
            found.add(
                (
                    one["kind"],
                    name(one),
                    one["metadata"].get("generation", one["metadata"]["resourceVersion"]),
                )
            )
        return found

    def name(one):
        return one["metadata"]["name"]

    before = state()
    installation.apply()
    # The Job is gone a minute after it has ended, so it may run again; it leaves Secrets that exist alone.
    installation.kubectl("wait", "--for", "condition=Complete", "job/kuber-cron-secrets", "--timeout", "60s")
    assert state() == before


def test_the_secrets_are_made_at_random_and_no_account_of_the_namespace_may_read_them(installation):
    kubectl = installation.kubectl
    found = {one["metadata"]["name"]: one["data"] for one in kubectl.json("get", "secrets")["items"]}
    assert {name: list(data) for name, data in found.items()} == {
        "kuber-cron-redis": ["password"],
        "kuber-cron-signing": ["key"],
    }
    accounts = [one["metadata"]["name"] for one in kubectl.json("get", "serviceaccounts")["items"]]
    assert {"kuber-cron-scheduler", "kuber-cron-worker", "kuber-cron-secrets", "default"} <= set(accounts)
    may = [
        f"{account} may {verb} secrets"
        for account in accounts
        for verb in ("get", "list", "watch", "update", "delete")
        if kubectl.allows(account, verb, "secrets")
    ]
    assert may == []


@pytest.mark.parametrize(
    ("component", "has"), [("scheduler", True), ("worker", False), ("redis", False), ("dashboard", False)]
)
def test_only_a_scheduler_is_given_a_token_of_the_api_server(installation, component, has):
    pod = installation.names(component)[0]
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    said = installation.kubectl("exec", pod, "--", "sh", "-c", f"test -e {path} && echo there || echo none")
    assert said.strip() == ("there" if has else "none")


@pytest.mark.parametrize("password", ["", "kuber-cron"])
def test_redis_wants_the_password(server, password):
    with PublishedRedis(server.port, password).client() as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with server.client() as client:
        assert client.ping()


def test_the_namespace_takes_no_pod_that_is_not_restricted(installation):
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        installation.kubectl("run", "root", "--image", f"{NAMESPACE}-scheduler:0.1.0", "--restart", "Never")
