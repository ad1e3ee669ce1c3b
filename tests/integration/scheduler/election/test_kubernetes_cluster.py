"""Leadership on a real API server: what is granted, tokens, hands in the Lease, outages, and leaders killed in a row."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from tests.support.elections import Contender, Electorate, electorate, epoch_of
from tests.support.real_cluster import LEASES, MANIFESTS, Cluster, Wire
from tests.support.schedulers import Schedulers
from tests.support.waiting import eventually

from kuber_cron.scheduler.election import kubernetes_lease, lease_rules

pytestmark = pytest.mark.cluster
pytest_plugins = ["tests.support.real_cluster_fixture"]

ACCOUNT = "kuber-cron-scheduler"
RBAC = MANIFESTS / "rbac.yaml"


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def voters(cluster: Cluster, namespace: str, redis_url: str) -> Iterator[Electorate]:
    with electorate(redis_url, cluster.kubeconfig, namespace=namespace) as made:
        yield made


@pytest.fixture
def granted(cluster: Cluster, namespace: str, tmp_path: Path) -> Callable[..., tuple[str, Path]]:
    """Applies the shipped manifest, without the verbs that are left out; the account's token and a kubeconfig."""

    def grant(*left_out: str) -> tuple[str, Path]:
        documents = list(yaml.safe_load_all(RBAC.read_text()))
        for document in documents:
            for rule in document.get("rules", []):
                rule["verbs"] = [verb for verb in rule["verbs"] if verb not in left_out]
            if "rules" in document:
                document["rules"] = [rule for rule in document["rules"] if rule["verbs"]]
        manifest = tmp_path / "rbac.yaml"
        manifest.write_text(yaml.safe_dump_all(documents))
        cluster.apply(manifest, namespace)
        token = cluster.token(namespace, ACCOUNT)
        return token, cluster.kubeconfig_for(tmp_path / "account", namespace=namespace, token=token)

    return grant


# --- what is granted -----------------------------------------------------------------------------


def test_with_the_shipped_role_a_scheduler_leads_and_may_do_nothing_else(cluster, namespace, voters, granted):
    token, kubeconfig = granted()
    one = voters.contender_by("one", kubeconfig).starts()
    epoch_of(one)
    own = f"{LEASES.format(namespace)}/kuber-cron"
    made = {"metadata": {"name": "other"}, "spec": {"holderIdentity": "x"}}
    cluster.ask("POST", LEASES.format(namespace), made)
    refused = [
        ("GET", LEASES.format(namespace)),
        ("GET", f"{LEASES.format(namespace)}?watch=true"),
        ("GET", f"{LEASES.format(namespace)}/other"),
        ("PUT", f"{LEASES.format(namespace)}/other"),
        ("DELETE", f"{LEASES.format(namespace)}/other"),
        ("DELETE", own),
        ("GET", f"{LEASES.format('default')}/kuber-cron"),
        ("POST", LEASES.format("default")),
        ("GET", "/apis/coordination.k8s.io/v1/leases"),
        ("GET", f"/api/v1/namespaces/{namespace}/secrets"),
        ("GET", f"/api/v1/namespaces/{namespace}/secrets/any"),
        ("GET", f"/api/v1/namespaces/{namespace}/configmaps"),
        ("GET", f"/api/v1/namespaces/{namespace}/pods"),
        ("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{ACCOUNT}/token"),
        ("GET", "/api/v1/namespaces"),
        ("GET", "/api/v1/nodes"),
    ]
    body = {"metadata": {"name": "kuber-cron"}}
    answers = {
        (method, path): cluster.ask(method, path, body if method in {"PUT", "POST"} else None, token=token)[0]
        for method, path in refused
    }
    assert set(answers.values()) == {403}, answers
    assert cluster.ask("GET", own, token=token)[0] == 200


def test_the_rules_of_the_account_are_those_of_the_manifest_and_no_more(cluster, namespace, granted):
    token, _ = granted()
    asked = {"spec": {"namespace": namespace}}
    status, answer = cluster.ask(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", asked, token=token
    )
    assert status == 201, answer
    ours = [
        rule
        for rule in answer["status"]["resourceRules"]
        # What every authenticated account may ask is about itself.
        if not rule["resources"][0].startswith("selfsubject")
    ]
    shipped = [document for document in yaml.safe_load_all(RBAC.read_text()) if document["kind"] == "Role"]
    assert sorted(map(json.dumps, ours)) == sorted(
        json.dumps(
            {key: rule[key] for key in ("verbs", "apiGroups", "resources", "resourceNames") if key in rule}
        )
        for rule in shipped[0]["rules"]
    )


@pytest.mark.parametrize("verb", ["get", "update", "create"])
def test_with_less_than_the_shipped_role_nobody_leads_and_the_check_says_why(
    cluster, namespace, voters, granted, verb
):
    _, kubeconfig = granted(verb)
    if verb == "update":
        cluster.edit(namespace, holderIdentity="", leaseDurationSeconds=1)
    one = voters.contender_by("one", kubeconfig).starts()
    eventually(lambda: "k8s/base/rbac.yaml" in one.election.check_lease())
    assert one.leads() is None
    assert one.election.checks()["election"]() == "ok"
    assert one.value("cron_lease_renew_failures_total", reason="forbidden") >= 1


def test_a_granted_role_is_noticed_without_a_restart(cluster, namespace, voters, granted):
    _, kubeconfig = granted("create")
    one = voters.contender_by("one", kubeconfig).starts()
    eventually(lambda: one.election.check_lease() != "the lease has not been read yet")
    cluster.edit(namespace, holderIdentity="", leaseDurationSeconds=1)
    assert epoch_of(one) == 1
    assert one.election.check_lease() == "ok"


# --- tokens --------------------------------------------------------------------------------------


def test_a_leader_outlives_the_end_of_its_token_and_takes_the_rotated_one(
    cluster, namespace, voters, granted, tmp_path
):
    token, _ = granted()
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text(token)
    (account / "ca.crt").write_bytes(cluster.ca)
    split = urlsplit(cluster.server)
    environ = {
        "KUBERNETES_SERVICE_HOST": split.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(split.port or 443),
    }
    one = voters.contender("one")
    one.election._store = kubernetes_lease.KubernetesLease(  # type: ignore[attr-defined] # as in a pod
        kubernetes_lease.find(environ, home=tmp_path, service_account=account),
        namespace=namespace,
        name="kuber-cron",
        request_seconds=1.0,
    )
    one.starts()
    epoch = epoch_of(one)
    # Its tokens end with an account; a bound token's own end is never less than ten minutes away.
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    cluster.ask("DELETE", f"{path}/{ACCOUNT}")
    eventually(lambda: one.value("cron_lease_renew_failures_total", reason="unauthorized") >= 2, 40)
    eventually(lambda: one.value("cron_failsafe") == 1)
    assert cluster.ask("POST", path, {"metadata": {"name": ACCOUNT}})[0] == 201
    (account / "token").write_text(cluster.token(namespace, ACCOUNT))
    eventually(lambda: one.value("cron_failsafe") == 0, 20)
    assert one.leads().epoch == epoch


# --- hands in the Lease --------------------------------------------------------------------------


def started(voters: Electorate, *names: str) -> list[Contender]:
    made = [voters.contender(name).starts() for name in names]
    voters.leader()
    for each in made:
        eventually(lambda each=each: each.election.check_lease() == "ok")
    return made


def test_a_deleted_lease_comes_back_and_costs_no_term(cluster, namespace, voters):
    for each in started(voters, "one", "two", "three"):
        # A standby that has never seen the Lease may take one that is not there.
        eventually(lambda each=each: each.election._observation is not None)
    leader = voters.leader()
    term = leader.leads()
    for _ in range(3):
        cluster.delete(namespace)
        eventually(lambda: cluster.holder(namespace) == leader.name)
    assert voters.leader() is leader
    assert leader.leads() == term
    assert cluster.lease(namespace)["spec"]["leaseTransitions"] == term.epoch


def test_a_lease_emptied_by_hand_is_held_again_within_a_retry(cluster, namespace, voters):
    started(voters, "one")
    cluster.edit(namespace, holderIdentity="", leaseDurationSeconds=1)
    eventually(lambda: cluster.holder(namespace) == "one")


def test_transitions_typed_in_by_hand_are_put_right_and_never_become_an_epoch(cluster, namespace, voters):
    one, two = started(voters, "one", "two")
    leader, other = (one, two) if one.leads() else (two, one)
    epoch = leader.leads().epoch
    cluster.edit(namespace, leaseTransitions=2_000_000_000)
    eventually(lambda: cluster.lease(namespace)["spec"]["leaseTransitions"] == epoch)
    leader.dies()
    cluster.edit(namespace, leaseTransitions=2_000_000_000)
    assert epoch_of(other, seconds=voters.takeover_seconds + 4) == epoch + 1
    assert cluster.lease(namespace)["spec"]["leaseTransitions"] == epoch + 1


def test_a_holder_written_in_by_hand_ends_the_term_and_is_waited_for(cluster, namespace, voters):
    one, two = started(voters, "one", "two")
    epoch = voters.leader().leads().epoch
    cluster.edit(namespace, holderIdentity="somebody", leaseDurationSeconds=2, leaseTransitions=epoch + 7)
    eventually(lambda: not one.leads() and not two.leads())
    leader = voters.leader()
    assert leader.leads().epoch == epoch + 8


def test_another_elector_in_the_same_lease_is_respected_as_long_as_it_renews(cluster, namespace, voters):
    def touch() -> None:
        now = datetime.now(UTC)
        cluster.edit(
            namespace,
            holderIdentity="client-go",
            leaseDurationSeconds=2,
            acquireTime="2026-01-01T00:00:00.000001Z",
            renewTime=lease_rules.stamp(now),
            leaseTransitions=3,
        )

    touch()
    one = voters.contender("one").starts()
    stop = threading.Event()
    # Its clock may be a day off: only the change counts.
    renewals = 0
    while not stop.wait(0.5):
        touch()
        renewals += 1
        assert one.leads() is None
        assert cluster.holder(namespace) == "client-go"
        if renewals == 10:
            break
    assert epoch_of(one) == 4


def test_the_record_is_one_that_client_gos_elector_reads(cluster, namespace, voters):
    started(voters, "one")
    spec = cluster.lease(namespace)["spec"]
    assert set(spec) == {
        "holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions",
    }  # fmt: skip
    assert spec["leaseDurationSeconds"] >= 3
    assert datetime.fromisoformat(spec["acquireTime"]) <= datetime.fromisoformat(spec["renewTime"])
    assert isinstance(spec["leaseTransitions"], int)


# --- real schedulers -----------------------------------------------------------------------------


@pytest.fixture
def schedulers(
    cluster: Cluster, namespace: str, redis_url: str, granted: Callable[..., tuple[str, Path]], tmp_path: Path
) -> Iterator[tuple[Schedulers, Wire]]:
    """Three of them, with the shipped role, and the wire to the API server."""
    token, _ = granted()
    wire = Wire(cluster.server)
    kubeconfig = cluster.kubeconfig_for(tmp_path / "wired", namespace=namespace, token=token, port=wire.port)
    made = Schedulers(redis_url, kubeconfig, tmp_path, namespace=namespace)
    try:
        for name in ("a", "b", "c"):
            made.start(name)
        yield made, wire
    finally:
        made.end()
        wire.cut()


def test_the_api_server_stops_and_comes_back_under_three_schedulers(cluster, namespace, schedulers):
    three, wire = schedulers
    leader, epoch = three.leader()
    before = len(three.decisions())
    if cluster.stop is not None and cluster.start is not None:
        cluster.stop()
    wire.cut()
    # Three leases long: the leader leads on, for nobody can have claimed in Redis.
    eventually(lambda: len(three.decisions()) >= before + 9, 20)
    wire.join()
    if cluster.start is not None:
        cluster.start()
    renewed = cluster.lease(namespace)["spec"]["renewTime"]
    eventually(lambda: cluster.lease(namespace)["spec"]["renewTime"] != renewed, 20)
    after = len(three.decisions())
    eventually(lambda: len(three.decisions()) >= after + 3)
    assert cluster.holder(namespace).split("_")[0] == leader
    assert three.leader(epoch - 1) == (leader, epoch)
    three.nothing_is_lost_or_doubled(12)


def test_a_leader_killed_while_the_api_server_is_away_is_succeeded_when_it_is_back(schedulers):
    three, wire = schedulers
    leader, epoch = three.leader()
    wire.cut()
    three.kill(leader)
    wire.join()
    assert three.leader(epoch)[0] != leader
    three.nothing_is_lost_or_doubled(3)


def test_a_leader_that_is_told_to_stop_is_succeeded_within_a_moment(cluster, namespace, schedulers):
    three, _ = schedulers
    leader, epoch = three.leader()
    three.kill(leader, signal.SIGTERM)
    assert three.leader(epoch, seconds=6)[0] != leader
    three.nothing_is_lost_or_doubled(2)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_twenty_leaders_killed_in_a_row_lose_and_double_nothing(cluster, namespace, schedulers):
    three, _ = schedulers
    epoch = 0
    for _ in range(20):
        leader, epoch = three.leader(epoch)
        three.kill(leader)
        three.start(leader)
    _, last = three.leader(epoch)
    assert last >= 21
    spec = cluster.lease(namespace)["spec"]
    assert spec["leaseTransitions"] == last
    three.nothing_is_lost_or_doubled(60)
