"""The manifests on a real API server: every object and every pod is taken where Pod Security `restricted` is enforced."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.manifests import BUILDS, K8S, Document, build, kubectl, of_kind, of_tier, pod, workloads
from tests.support.real_cluster import Cluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.cluster
pytest_plugins = ["tests.support.real_cluster_fixture"]

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}
# Kinds of other projects: their definitions are installed with an open schema where the cluster has none.
FOREIGN = {
    "ScaledObject": ("keda.sh", "v1alpha1", "scaledobjects"),
    "PodMonitor": ("monitoring.coreos.com", "v1", "podmonitors"),
    "PrometheusRule": ("monitoring.coreos.com", "v1", "prometheusrules"),
}


@pytest.fixture(scope="session")
def foreign(cluster: Cluster) -> Iterator[None]:
    """The kinds of other projects, with an open schema, where the cluster does not know them already."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    installed = []
    for kind, (group, version, plural) in FOREIGN.items():
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        made = {
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
            },
        }
        status, said = cluster.ask(
            "POST",
            path,
            {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **made},
        )
        assert status in {201, 409}, said
        if status == 201:
            installed.append(f"{path}/{plural}.{group}")
        eventually(
            lambda group=group, version=version, plural=plural: _is_served(cluster, group, version, plural),
            30,
        )
    yield
    for each in installed:
        cluster.ask("DELETE", each)


def _is_served(cluster: Cluster, group: str, version: str, plural: str) -> bool:
    status, said = cluster.ask("GET", f"/apis/{group}/{version}")
    return status == 200 and any(each["name"] == plural for each in said["resources"])


@pytest.fixture(scope="session")
def restricted(cluster: Cluster) -> Iterator[str]:
    """A namespace where Pod Security is enforced, with the accounts that the pods use."""
    with cluster.namespace() as name:
        path = f"/api/v1/namespaces/{name}"
        _, made = cluster.ask("GET", path)
        made["metadata"]["labels"] |= RESTRICTED
        status, said = cluster.ask("PUT", path, made)
        assert status == 200, said
        for account in ("default", "kuber-cron-scheduler", "kuber-cron-worker", "kuber-cron-secrets"):
            status, said = cluster.ask("POST", f"{path}/serviceaccounts", {"metadata": {"name": account}})
            assert status in {201, 409}, said
        yield name


@pytest.fixture
def apply(cluster: Cluster, foreign: None, restricted: str) -> Callable[[list[Document]], None]:
    """Applies objects on the server's side, dry: all that it checks, and nothing stays. A warning is a failure."""

    def apply(documents: list[Document]) -> None:
        done = kubectl(
            *("--kubeconfig", cluster.kubeconfig, "apply", "--server-side", "--dry-run=server"),
            *(
                "--validate=strict",
                "--warnings-as-errors",
                "--field-manager=test",
                "--force-conflicts",
                "-f",
                "-",
            ),
            given=yaml.safe_dump_all(documents),
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) == len(documents)

    return apply


@pytest.mark.parametrize("part", BUILDS)
def test_the_api_server_takes_every_object_without_a_warning(apply, restricted, part):
    documents = build(part, restricted)
    assert {each["metadata"].get("namespace", restricted) for each in documents} == {restricted}
    apply(documents)


@pytest.mark.parametrize("part", ["everything", "overlays/dev", "overlays/production"])
def test_every_pod_is_admitted_where_pod_security_is_enforced(apply, restricted, part):
    # Of a Deployment it only warns: what it refuses are pods.
    made = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": each["metadata"]["name"], "namespace": restricted},
            "spec": pod(each),
        }
        for each in workloads(build(part, restricted))
    ]
    claims = [
        claim for each in workloads(build(part)) for claim in each["spec"].get("volumeClaimTemplates", ())
    ]
    for each in made:  # a StatefulSet's pod has its claim's volume from the controller
        each["spec"].setdefault("volumes", []).extend(
            {"name": claim["metadata"]["name"], "emptyDir": {}}
            for claim in claims
            if each["metadata"]["name"] == "kuber-cron-redis"
        )
    assert made
    apply(made)


def test_a_pod_that_is_less_confined_is_refused_there(apply, restricted):
    (scheduler,) = of_tier(build("base", restricted), "scheduler")
    spec = pod(scheduler)
    del spec["securityContext"]["seccompProfile"]
    loose = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "namespace": restricted},
        "spec": spec,
    }
    with pytest.raises(AssertionError, match="seccompProfile"):
        apply([loose])
    with pytest.raises(AssertionError, match="seccompProfile"):
        apply([scheduler])


# --- the generated Secrets -----------------------------------------------------------------------


@pytest.fixture
def generate(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Callable[[], int], str]]:
    """The Job's script, run here by the account and the Role that the component ships; and its namespace."""
    with cluster.namespace() as namespace:
        shipped = of_kind(
            build("components/generated-secrets", namespace), "ServiceAccount", "Role", "RoleBinding"
        )
        manifest = tmp_path / "account.yaml"
        manifest.write_text(
            yaml.safe_dump_all(each for each in shipped if each["metadata"]["name"] == "kuber-cron-secrets")
        )
        cluster.apply(manifest, namespace)
        (tmp_path / "ca.crt").write_bytes(cluster.ca)
        (tmp_path / "namespace").write_text(namespace)
        (tmp_path / "token").write_text(cluster.token(namespace, "kuber-cron-secrets"))
        path = K8S / "components" / "generated-secrets" / "generate.py"
        spec = importlib.util.spec_from_file_location("generate", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.API, module.ACCOUNT = cluster.server, tmp_path
        module.TRIES, module.PAUSE_SECONDS = 3, 0.1
        yield module.main, namespace


def _secret(cluster: Cluster, namespace: str, name: str) -> dict[str, str] | None:
    status, said = cluster.ask("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    return said["data"] if status == 200 else None


def test_the_job_makes_both_secrets_once_and_may_not_read_them(cluster, generate, tmp_path, capsys):
    main, namespace = generate
    assert main() == 0
    before = {name: _secret(cluster, namespace, name) for name in ("kuber-cron-redis", "kuber-cron-signing")}
    assert [list(data or {}) for data in before.values()] == [["password"], ["key"]]
    assert main() == 0
    assert {name: _secret(cluster, namespace, name) for name in before} == before
    said = capsys.readouterr()
    assert said.out.count("made") == 2
    assert said.out.count("stays as it is") == 2
    assert said.err == ""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    token = (tmp_path / "token").read_text()
    for method, where in (
        ("GET", path),
        ("GET", f"{path}/kuber-cron-redis"),
        ("DELETE", f"{path}/kuber-cron-redis"),
    ):
        assert cluster.ask(method, where, token=token)[0] == 403


def test_the_job_leaves_a_secret_that_somebody_made_alone(cluster, generate):
    main, namespace = generate
    own = {"metadata": {"name": "kuber-cron-redis"}, "data": {"password": "b3du"}}
    assert cluster.ask("POST", f"/api/v1/namespaces/{namespace}/secrets", own)[0] == 201
    assert main() == 0
    assert _secret(cluster, namespace, "kuber-cron-redis") == {"password": "b3du"}
    assert _secret(cluster, namespace, "kuber-cron-signing")


def test_the_job_that_is_refused_says_what_and_fails(cluster, generate, tmp_path, capsys):
    main, namespace = generate
    (tmp_path / "token").write_text("not a token")
    assert main() == 1
    assert "Secret kuber-cron-redis: HTTP Error 401" in capsys.readouterr().err
    assert _secret(cluster, namespace, "kuber-cron-redis") is None
