"""The manifests as `kubectl` builds them: what holds for each object, each pod and each tier."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.manifests import (
    APP,
    BUILDS,
    COMMON,
    K8S,
    ROOT,
    Document,
    build,
    called,
    containers,
    kustomized,
    of_kind,
    of_tier,
    pod,
    quantity,
    selects,
    settings,
    template,
    tier,
    workloads,
)

from kuber_cron import __version__
from kuber_cron.common.jobs import number_types

pytestmark = pytest.mark.cluster

GRACE = "KUBER_CRON_GRACE_SECONDS"


@pytest.fixture(params=BUILDS)
def built(request: pytest.FixtureRequest) -> list[Document]:
    """Each part in turn, as it is."""
    return build(request.param)


# --- what holds for every object -----------------------------------------------------------------


def test_every_object_and_every_pod_has_the_labels_it_is_found_by(built):
    for document in built:
        labels = document["metadata"].get("labels", {})
        assert labels.items() >= COMMON.items(), document["metadata"]["name"]
    for workload in workloads(built):
        assert template(workload)["metadata"]["labels"].items() >= COMMON.items()
        assert tier(workload) == workload["metadata"]["labels"][f"{APP}/component"]


def test_every_selector_means_its_own_pods_and_nobody_elses(built):
    owners = of_kind(built, "Deployment", "StatefulSet")
    for owner, other in itertools.product(owners, workloads(built)):
        labels = template(other)["metadata"]["labels"]
        assert selects(owner["spec"]["selector"], labels) is (owner is other)
    for service in of_kind(built, "Service"):
        wanted = {"matchLabels": service["spec"]["selector"]}
        ports = {port["targetPort"] for port in service["spec"]["ports"]}
        chosen = [each for each in owners if selects(wanted, template(each)["metadata"]["labels"])]
        assert chosen, service["metadata"]["name"]
        for each in chosen:
            named = {port["name"] for container in containers(each) for port in container.get("ports", ())}
            assert ports <= named


def test_every_pod_of_several_is_in_one_disruption_budget(built):
    # Two for one pod, and the eviction API answers 500 until somebody deletes one.
    budgets = of_kind(built, "PodDisruptionBudget")
    for budget in budgets:
        assert "maxUnavailable" in budget["spec"], "a minimum that is never exceeded stops every drain"
    for workload in of_kind(built, "Deployment", "StatefulSet"):
        labels = template(workload)["metadata"]["labels"]
        count = sum(selects(budget["spec"]["selector"], labels) for budget in budgets)
        assert count == (1 if tier(workload) in {"scheduler", "worker"} else 0), workload["metadata"]["name"]


def test_what_a_pod_takes_from_a_config_map_or_an_account_is_there(built):
    for workload in workloads(built):
        for source in (*_config_maps(pod(workload)),):
            if not source.get("optional"):
                called(built, "ConfigMap", source["name"])
        if (account := pod(workload).get("serviceAccountName")) is not None:
            called(built, "ServiceAccount", account)


def _config_maps(node: Any) -> Iterator[Document]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"configMap", "configMapRef", "configMapKeyRef"}:
                yield value
            yield from _config_maps(value)
    elif isinstance(node, list):
        for each in node:
            yield from _config_maps(each)


# --- what holds for every pod --------------------------------------------------------------------


def test_no_pod_is_told_of_services_by_variables(built):
    assert [pod(workload).get("enableServiceLinks") for workload in workloads(built)] == [False] * len(
        workloads(built)
    )


def test_only_who_asks_the_api_server_has_a_token(built):
    for workload in workloads(built):
        may = pod(workload)["automountServiceAccountToken"]
        assert may is (tier(workload) in {"scheduler", "secrets"}), workload["metadata"]["name"]


def test_every_pod_is_confined_and_every_root_is_read_only(built):
    for workload in workloads(built):
        context = pod(workload)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == (999 if tier(workload) == "redis" else 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_says_what_it_takes(built):
    for workload in workloads(built):
        for container in containers(workload):
            assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


def test_every_image_has_a_version_and_is_not_pulled_again(built):
    for workload in workloads(built):
        for container in containers(workload):
            name, _, tag = container["image"].partition(":")
            assert tag == (__version__ if name.startswith("kuber-cron-") else "8"), container["image"]
            assert container["imagePullPolicy"] == "IfNotPresent"


def test_what_runs_on_is_probed(built):
    for workload in of_kind(built, "Deployment", "StatefulSet"):
        for container in pod(workload)["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
        if tier(workload) in {"scheduler", "worker"}:
            (container,) = pod(workload)["containers"]
            (port,) = container["ports"]
            assert port == {"name": "metrics", "containerPort": settings(workload, built).metrics_port}
            paths = [
                container[f"{probe}Probe"]["httpGet"]["path"]
                for probe in ("startup", "liveness", "readiness")
            ]
            assert paths == ["/livez", "/livez", "/readyz"]


def test_nothing_is_mounted_by_sub_path(built):
    for workload in workloads(built):
        for container in containers(workload):
            for mount in container.get("volumeMounts", ()):
                assert not {"subPath", "subPathExpr"} & mount.keys()


def test_every_volume_on_the_nodes_disk_is_bounded(built):
    for workload in workloads(built):
        for volume in pod(workload).get("volumes", ()):
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})


def test_secrets_are_the_two_that_are_documented_and_never_in_the_manifests(built):
    assert of_kind(built, "Secret") == []
    used = {
        (source.get("name") or source["secretName"], key)
        for workload in workloads(built)
        for source in _secrets(pod(workload))
        for key in ([source["key"]] if "key" in source else [item["key"] for item in source["items"]])
    }
    assert used == {("kuber-cron-redis", "password"), ("kuber-cron-signing", "key")}


def _secrets(node: Any) -> Iterator[Document]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"secret", "secretKeyRef", "secretRef"}:
                yield value
            yield from _secrets(value)
    elif isinstance(node, list):
        for each in node:
            yield from _secrets(each)


# --- the tiers -----------------------------------------------------------------------------------


def test_the_settings_of_both_tiers_are_valid_and_their_files_are_mounted(built):
    for workload in of_tier(built, "scheduler", "worker"):
        said = settings(workload, built)
        (container,) = pod(workload)["containers"]
        mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
        wanted = [said.redis_password_file, said.signing_key_file, Path("/tmp/x")]
        wanted += [Path(said.jobs[0], "x")] if tier(workload) == "scheduler" else [said.log_dir / "x"]
        for path in wanted:
            assert any(path.parent == mount for mount in mounts), path
        (volume,) = [each for each in pod(workload)["volumes"] if each["name"] == "secrets"]
        items = [item for source in volume["projected"]["sources"] for item in source["secret"]["items"]]
        assert {item["path"] for item in items} == {
            said.redis_password_file.name,
            said.signing_key_file.name,
        }
        assert volume["projected"]["defaultMode"] == 0o440
        assert said.insecure is False


def test_a_pod_is_killed_five_seconds_after_its_grace(built):
    for workload in of_tier(built, "scheduler", "worker"):
        grace = settings(workload, built).grace_seconds
        assert pod(workload)["terminationGracePeriodSeconds"] == grace + 5, workload["metadata"]["name"]


def test_the_grace_of_production_is_changed_in_one_file():
    files = [path for path in (K8S / "overlays" / "production").rglob("*") if path.is_file()]
    said = re.compile(rf"{GRACE}|terminationGracePeriodSeconds:")
    assert [path.name for path in files if said.search(path.read_text(encoding="utf-8"))] == ["grace.yaml"]
    (worker,) = of_tier(build("overlays/production"), "worker")
    assert pod(worker)["terminationGracePeriodSeconds"] == 305


def test_the_job_files_keep_their_name_and_the_settings_get_a_new_one_with_each_change(built):
    called(built, "ConfigMap", "kuber-cron-jobs")
    for document in of_kind(built, "ConfigMap"):
        name = document["metadata"]["name"]
        # Dashboards are found by their labels, and by nobody's pod.
        if name != "kuber-cron-jobs" and "dashboard" not in name:
            assert re.search(r"-[a-z0-9]{10}$", name), name


def test_a_changed_setting_replaces_the_pods_and_a_changed_job_does_not(tmp_path):
    def templates(**changes: list[Document]) -> dict[str, Document]:
        text = kustomized(tmp_path.resolve(), {"resources": ["base"], **changes})
        return {
            each["metadata"]["name"]: template(each) for each in workloads(list(yaml.safe_load_all(text)))
        }

    before = templates()
    setting = {
        "name": "kuber-cron-settings",
        "behavior": "merge",
        "literals": ["KUBER_CRON_TIMEZONE=Europe/Berlin"],
    }
    assert {
        name for name, made in templates(configMapGenerator=[setting]).items() if made != before[name]
    } == set(before)
    job = {"name": "kuber-cron-jobs", "behavior": "replace", "literals": ["crontab=@daily true"]}
    assert templates(configMapGenerator=[job]) == before


def test_the_leader_finds_its_lease_granted(built):
    (role,) = [each for each in of_kind(built, "Role") if each["metadata"]["name"] == "kuber-cron-scheduler"]
    (scheduler,) = of_tier(built, "scheduler")
    said = settings(scheduler, built)
    assert said.election == "kubernetes"
    assert [rule.get("resourceNames") for rule in role["rules"]] == [[said.lease_name], None]
    assert {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}} in pod(scheduler)[
        "containers"
    ][0]["env"]


@pytest.mark.parametrize("part", ["base", "overlays/production"])
def test_schedulers_are_three_guaranteed_and_never_fewer_in_a_rollout(part):
    (scheduler,) = of_tier(build(part), "scheduler")
    assert scheduler["spec"]["replicas"] == 3
    assert scheduler["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    for container in containers(scheduler):
        assert container["resources"]["requests"] == container["resources"]["limits"]
    (container,) = pod(scheduler)["containers"]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "512Mi"}
    spread = pod(scheduler)["topologySpreadConstraints"]
    assert {each["whenUnsatisfiable"] for each in spread} == {"ScheduleAnyway"}


def test_beside_a_redis_component_schedulers_are_still_guaranteed():
    (scheduler,) = of_tier(build("components/redis"), "scheduler")
    for container in containers(scheduler):
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_logs_of_two_hundred_and_fifty_jobs_fit_into_the_volume():
    documents = build("base")
    (worker,) = of_tier(documents, "worker")
    (volume,) = [each for each in pod(worker)["volumes"] if each["name"] == "logs"]
    room = number_types.size.parse(volume["emptyDir"]["sizeLimit"] + "B")
    assert room >= 250 * settings(worker, documents).log_keep_bytes


# --- the components ------------------------------------------------------------------------------


def test_another_queues_workers_differ_by_queue_name_and_logs_alone():
    documents = build("components/worker-queue")
    one = called(documents, "Deployment", "kuber-cron-worker")
    other = called(documents, "Deployment", "kuber-cron-worker-reports")
    assert settings(one, documents).worker_queues == ("default",)
    assert settings(other, documents).worker_queues == ("reports",)
    (logs,) = [each for each in pod(other)["volumes"] if each["name"] == "logs"]
    claim = called(documents, "PersistentVolumeClaim", logs["persistentVolumeClaim"]["claimName"])
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert other["spec"]["strategy"] == {"type": "Recreate"}
    assert other["spec"]["replicas"] == 1
    assert pod(one)["containers"][0]["image"] == pod(other)["containers"][0]["image"]


def test_several_config_maps_are_one_directory_of_job_files():
    (scheduler,) = of_tier(build("components/jobs-projected"), "scheduler")
    (volume,) = [each for each in pod(scheduler)["volumes"] if each["name"] == "jobs"]
    assert volume == {
        "name": "jobs",
        "projected": {
            "sources": [
                {"configMap": {"name": "kuber-cron-jobs"}},
                {"configMap": {"name": "kuber-cron-jobs-2", "optional": True}},
                {"configMap": {"name": "kuber-cron-jobs-3", "optional": True}},
            ]
        },
    }


def test_the_dashboard_reads_json_alone_and_its_password_is_not_in_the_manifest():
    documents = build("components/dashboard")
    (container,) = pod(called(documents, "Deployment", "kuber-cron-dashboard"))["containers"]
    said = {each["name"]: each for each in container["env"]}
    assert said["RQ_DASHBOARD_JSON_SERIALIZER"]["value"] == "true"
    assert said["RQ_DASHBOARD_REDIS_URL"]["value"] == "redis://:$(REDIS_PASSWORD)@kuber-cron-redis:6379/0"
    # Kubernetes puts in only what stands before it in the list.
    assert list(said).index("REDIS_PASSWORD") < list(said).index("RQ_DASHBOARD_REDIS_URL")
    assert said["REDIS_PASSWORD"]["valueFrom"]["secretKeyRef"] == {
        "name": "kuber-cron-redis",
        "key": "password",
    }


def test_only_the_tiers_and_the_dashboard_may_connect_to_redis():
    policies = {
        each["metadata"]["name"]: each["spec"] for each in of_kind(build("everything"), "NetworkPolicy")
    }
    assert {tuple(policy["policyTypes"]) for policy in policies.values()} == {("Ingress",)}
    assert all("egress" not in policy for policy in policies.values())
    everyone = [each for each in policies.values() if "ingress" not in each]
    assert [each["podSelector"] for each in everyone] == [
        {"matchLabels": {key: COMMON[key] for key in (f"{APP}/name", f"{APP}/instance")}}
    ]
    pods = [template(each)["metadata"]["labels"] for each in workloads(build("everything"))]

    def may_connect(labels: dict[str, str], target: str) -> bool:
        (to,) = [each for each in pods if each[f"{APP}/component"] == target]
        return any(
            selects(policy["podSelector"], to)
            and any(
                "podSelector" in peer and selects(peer["podSelector"], labels)
                for rule in policy.get("ingress", ())
                for peer in rule["from"]
            )
            for policy in policies.values()
        )

    allowed = {labels[f"{APP}/component"] for labels in pods if may_connect(labels, "redis")}
    assert allowed == {"scheduler", "worker", "dashboard"}
    assert not may_connect({}, "redis")
    assert not any(may_connect(labels, "dashboard") for labels in pods)


def test_keda_counts_the_workers_and_asks_only_what_its_documentation_has():
    documents = build("components/keda")
    scaled = called(documents, "ScaledObject", "kuber-cron-worker")["spec"]
    worker = called(documents, "Deployment", scaled["scaleTargetRef"]["name"])
    assert "replicas" not in worker["spec"], "each apply would set KEDA's number back"
    assert set(scaled) <= {
        *("scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount"),
        *("minReplicaCount", "maxReplicaCount", "fallback", "advanced", "triggers"),
    }
    assert scaled["minReplicaCount"] >= 1, "to zero is for who asks for it"
    assert scaled["cooldownPeriod"] > settings(worker, documents).grace_seconds
    for trigger in scaled["triggers"]:
        assert set(trigger) <= {
            "type",
            "name",
            "metadata",
            "metricType",
            "useCachedMetrics",
            "authenticationRef",
        }
        assert trigger["type"] == "prometheus"
        assert set(trigger["metadata"]) <= {
            *("serverAddress", "query", "queryParameters", "threshold", "activationThreshold", "namespace"),
            *("customHeaders", "ignoreNullValues", "unsafeSsl", "authModes", "timeout"),
        }
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    kinds = {trigger["name"]: trigger["metricType"] for trigger in scaled["triggers"]}
    assert kinds == {"queue-depth": "AverageValue", "queue-age": "Value"}
    slots = settings(worker, documents).worker_slots
    assert scaled["triggers"][0]["metadata"]["threshold"] == str(max(4, slots))
    exported = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for trigger in scaled["triggers"]:
        query = trigger["metadata"]["query"]
        assert set(re.findall(r"cron_\w+(?=\{)", query)) <= set(re.findall(r"cron_\w+", exported))
        assert set(re.findall(r'namespace="([^"]+)"', query)) == {_namespace(build("overlays/production"))}


def _namespace(documents: list[Document]) -> str:
    (name,) = {document["metadata"]["namespace"] for document in documents}
    return str(name)


def test_the_quota_holds_everything_with_all_of_kedas_workers_in_a_rollout():
    documents = build("everything")
    hard = called(documents, "ResourceQuota", "kuber-cron")["spec"]["hard"]
    scaled = called(documents, "ScaledObject", "kuber-cron-worker")["spec"]
    total = dict.fromkeys(("requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "pods"), 0.0)
    for workload in workloads(documents):
        count = workload["spec"].get(
            "replicas", scaled["maxReplicaCount"] if tier(workload) == "worker" else 1
        )
        surge = workload["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", "25%")
        if workload["kind"] == "Deployment":
            count += surge if isinstance(surge, int) else -(-count * int(surge.rstrip("%")) // 100)
        total["pods"] += count
        for side, what in itertools.product(("requests", "limits"), ("cpu", "memory")):
            own = sum(quantity(each["resources"][side][what]) for each in pod(workload)["containers"])
            total[f"{side}.{what}"] += count * own
    assert {key: value for key, value in total.items() if value > quantity(hard[key])} == {}
    (limits,) = called(documents, "LimitRange", "kuber-cron")["spec"]["limits"]
    for workload in workloads(documents):
        for container in containers(workload):
            for what, most in limits["max"].items():
                assert quantity(container["resources"]["limits"][what]) <= quantity(most)


# --- documented overlays -------------------------------------------------------------------------


def _documented() -> list[tuple[str, Document]]:
    """The kustomizations in docs/kubernetes.md: a name, from the comment that each begins with, and what it says."""
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n# (\S+)/kustomization\.yaml\n(.*?)```", text, re.DOTALL)
    return [(name, yaml.safe_load(block)) for name, block in blocks]


@pytest.mark.parametrize(("name", "said"), [pytest.param(*each, id=each[0]) for each in _documented()])
def test_a_documented_overlay_builds(tmp_path, name, said):
    for key in ("resources", "components"):
        if key in said:
            said[key] = [part.partition("k8s/")[2] for part in said[key]]
    for generator in said.get("configMapGenerator", ()):
        for file in generator.get("files", ()):
            (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / file).write_text("@daily true\n", encoding="utf-8")
    documents = list(yaml.safe_load_all(kustomized(tmp_path.resolve(), said)))
    assert {document["metadata"].get("namespace") for document in documents} == {said["namespace"]}
    for workload in of_tier(documents, "scheduler", "worker"):
        assert (
            pod(workload)["terminationGracePeriodSeconds"] == settings(workload, documents).grace_seconds + 5
        )


def test_a_second_instance_shares_no_label_key_prefix_or_selector_with_the_first(tmp_path):
    (said,) = [said for name, said in _documented() if name == "second"]
    said["resources"] = [part.partition("k8s/")[2] for part in said["resources"]]
    documents = list(yaml.safe_load_all(kustomized(tmp_path.resolve(), said)))
    for workload in of_tier(documents, "scheduler", "worker"):
        name = settings(workload, documents).instance
        assert name != "kuber-cron"
        assert template(workload)["metadata"]["labels"][f"{APP}/instance"] == name
        assert workload["spec"]["selector"]["matchLabels"][f"{APP}/instance"] == name
    for budget in of_kind(documents, "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"][f"{APP}/instance"] != "kuber-cron"
