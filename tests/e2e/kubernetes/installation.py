"""k8s/overlays/dev on a cluster: what tests do to it, and what they ask it."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.e2e.kubernetes.kubectl import Kubectl
from tests.e2e.stack import ROOT
from tests.support.waiting import eventually

DEV = ROOT / "k8s" / "overlays" / "dev"
RULES = ROOT / "k8s" / "components" / "monitoring" / "rules.yaml"
HELPERS = Path(__file__).parent / "helpers"
NAMESPACE = "kuber-cron"
# Redis, dashboard, both tiers.
WORKLOADS = ("deployments", "statefulsets")
Pod = dict[str, Any]


class Installation:
    """What stands in the namespace."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl

    # --- what there is -------------------------------------------------------------------------------------

    def pods(self, component: str = "") -> list[Pod]:
        """The pods of a component (of all) that are not about to end."""
        return [pod for pod in self._all_pods(component) if "deletionTimestamp" not in pod["metadata"]]

    def _all_pods(self, component: str) -> list[Pod]:
        label = f",app.kubernetes.io/component={component}" if component else ""
        found = self.kubectl.json("get", "pods", "--selector", f"app.kubernetes.io/part-of=kuber-cron{label}")
        return list(found["items"])

    def names(self, component: str = "") -> list[str]:
        """Their names."""
        return sorted(pod["metadata"]["name"] for pod in self.pods(component))

    def pod(self, name: str) -> Pod:
        """One of them."""
        return self.kubectl.json("get", "pod", name)

    def restarts(self, name: str) -> int:
        """How often the pod's container has been started again."""
        return int(self.pod(name)["status"]["containerStatuses"][0]["restartCount"])

    def last_end(self, name: str) -> str:
        """Why the pod's container was started again, as the kubelet has it."""
        return str(self.pod(name)["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"])

    def unready(self, component: str) -> list[str]:
        """The pods that are not ready."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods(component)
            if any(
                each["type"] == "Ready" and each["status"] != "True" for each in pod["status"]["conditions"]
            )
        ]

    def unwell(self) -> dict[str, str]:
        """What is not as its manifest wants it, and pods that are about to end; and why, as far as it is said."""
        found = {}
        for kind in WORKLOADS:
            for one in self.kubectl.json("get", kind)["items"]:
                wanted, status = one["spec"]["replicas"], one["status"]
                counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
                is_seen = status.get("observedGeneration", 0) >= one["metadata"]["generation"]
                if counts != [wanted] * 3 or not is_seen:
                    found[one["metadata"]["name"]] = f"{counts[2]} of {wanted} are ready, {counts[1]} are new"
        for pod in self._all_pods(""):
            reasons = [
                state["waiting"]
                for each in pod["status"].get("containerStatuses", ())
                for state in [each["state"]]
                if "waiting" in state
            ]
            if "deletionTimestamp" in pod["metadata"]:
                found[pod["metadata"]["name"]] = "is about to end"
            elif reasons:
                found[pod["metadata"]["name"]] = f"{reasons[0]['reason']} {reasons[0].get('message', '')}"
        return found

    def wait_until_well(self, seconds: float = 120) -> None:
        """Everything is as its manifest wants it, and ready."""
        try:
            eventually(lambda: not self.unwell(), seconds, every=0.5)
        except AssertionError:
            raise AssertionError(f"not well after {seconds:g} s: {self.unwell()}") from None

    # --- what it says of itself ------------------------------------------------------------------------------

    def password(self) -> str:
        """Redis', as it was generated."""
        return base64.b64decode(
            self.kubectl.json("get", "secret", "kuber-cron-redis")["data"]["password"]
        ).decode()

    def leader(self, seconds: float = 30, *, other_than: str = "") -> str:
        """The pod that holds the Lease, once one does and is there."""

        def holder() -> str:
            name = self._holder()
            return name if name and name != other_than and name in self.names("scheduler") else ""

        return eventually(holder, seconds, every=0.2)

    def _holder(self) -> str:
        if not self.kubectl.has("lease", "kuber-cron"):
            return ""
        return str(
            self.kubectl.json("get", "lease", "kuber-cron")["spec"].get("holderIdentity") or ""
        ).partition("_")[0]

    def standbys(self) -> list[str]:
        """The schedulers that do not lead."""
        leader = self.leader()
        return [name for name in self.names("scheduler") if name != leader]

    def page(self, pod: str, path: str = "/metrics") -> str:
        """What a pod of ours answers, by way of the API server."""
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8000/proxy{path}")

    def metric(self, pod: str, name: str) -> float:
        """A series without labels, as the pod has it now."""
        found = re.search(rf"^{name} (\S+)$", self.page(pod), re.MULTILINE)
        assert found, f"{pod} has no {name}"
        return float(found[1])

    def logs(self, component: str) -> list[dict[str, Any]]:
        """The log lines of a tier that are objects, of the containers that there are now."""
        said = self.kubectl(
            "logs",
            "--selector",
            f"app.kubernetes.io/component={component}",
            "--tail",
            "-1",
            "--max-log-requests",
            "20",
        )
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    # --- what is done to it ------------------------------------------------------------------------------------

    def apply(self, directory: Path = DEV) -> str:
        """`kubectl apply -k`; what it says."""
        return self.kubectl("apply", "--kustomize", str(directory), seconds=120)

    def delete(self) -> None:
        """`kubectl delete -k`, to its end."""
        self.kubectl("delete", "--kustomize", str(DEV), "--ignore-not-found", seconds=240)

    def edit(self, files: Mapping[str, str | None]) -> None:
        """Edit files of the ConfigMap of the jobs, None takes one away; the others stay."""
        patch = json.dumps({"data": dict(files)})
        self.kubectl("patch", "configmap", "kuber-cron-jobs", "--type", "merge", "--patch", patch)

    def file(self, name: str) -> str:
        """What the ConfigMap of the jobs has there."""
        return str(self.kubectl.json("get", "configmap", "kuber-cron-jobs")["data"][name])

    def evict(self, pod: str, directory: Path) -> str:
        """Ask for an eviction, as a drain does; what the API server said where it refused."""
        request = directory / "eviction.json"
        request.write_text(
            json.dumps(
                {
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": pod, "namespace": NAMESPACE},
                }
            )
        )
        try:
            self.kubectl(
                "create",
                "--raw",
                f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction",
                "--filename",
                str(request),
            )
        except AssertionError as refused:
            return str(refused)
        return ""

    def kill_container(self, pod: str) -> None:
        """SIGKILL to the process below the container's first; that one ends then, and the kubelet starts another."""
        script = (
            "for file in /proc/[0-9]*/status; do"
            " if grep -q '^PPid:[[:space:]]1$' $file; then kill -9 $(basename $(dirname $file)); fi; done"
        )
        self.kubectl("exec", pod, "--", "sh", "-c", script)


class Helpers:
    """The namespace beside it: a sink for lines, a hand on each node, a Prometheus."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl.within(f"{NAMESPACE}-e2e")

    def start(self) -> None:
        """All of them are ready."""
        self.kubectl("create", "--filename", str(HELPERS / "namespace.yaml"))
        self.kubectl("create", "configmap", "rules", "--from-file", f"kuber-cron.yaml={RULES}")
        self.kubectl("apply", "--kustomize", str(HELPERS))
        self.kubectl(
            "wait", "--for", "condition=Ready", "pod/sink", "pod/prometheus", "--timeout", "90s", seconds=100
        )

    def end(self) -> None:
        """Nothing is left of them."""
        self.kubectl("delete", "namespace", self.kubectl.namespace, "--ignore-not-found", seconds=120)

    def sink(self) -> str:
        """Where commands send their lines: a file name that bash takes for a connection."""
        return f"/dev/tcp/{self.kubectl.json('get', 'service', 'sink')['spec']['clusterIP']}/9000"

    def lines(self, after: int) -> str:
        """What has been sent, less so many bytes of it."""
        return self.kubectl("exec", "sink", "--", "tail", "-c", f"+{after + 1}", "/tmp/commands.txt")

    def cut(self, pod: Pod) -> Callable[[], str]:
        """The pod does not reach the API server any more; call the answer to heal it."""
        address = self.kubectl.within("default").json("get", "service", "kubernetes")["spec"]["clusterIP"]
        hand, uid = self._hand_on(pod["spec"]["nodeName"]), pod["metadata"]["uid"]

        def act(verb: str) -> str:
            return self.kubectl("exec", hand, "--", "python3", "/scripts/cut.py", verb, uid, address)

        act("cut")
        return lambda: act("heal")

    def _hand_on(self, node: str) -> str:
        """The pod that may do anything on that node; the test is skipped where the cluster does not allow one."""
        try:
            self.kubectl("rollout", "status", "daemonset/node", "--timeout", "60s", seconds=70)
        except AssertionError as error:
            pytest.skip(
                f"the cluster runs no privileged pod with hostPID, which alone can cut a pod off: {error}"
            )
        chosen = ("--selector", "app=node", "--field-selector", f"spec.nodeName={node}")
        found = self.kubectl.json("get", "pods", *chosen)["items"]
        if not found:
            pytest.skip(
                f"the node {node} takes no pod of a DaemonSet: its taints or its architecture forbid it"
            )
        return str(found[0]["metadata"]["name"])

    def ask(self, path: str) -> Any:
        """What Prometheus answers, by way of the API server."""
        url = f"/api/v1/namespaces/{self.kubectl.namespace}/services/prometheus:9090/proxy/api/v1/{path}"
        return json.loads(self.kubectl("get", "--raw", url))["data"]

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """An instant query: each sample's value by its labels' values."""
        found = self.ask(f"query?query={quote(expression)}")["result"]
        return {tuple(one["metric"].values()): float(one["value"][1]) for one in found}

    def alerts(self) -> dict[str, str]:
        """The alerts that are not inactive: name to state, the gravest of its instances."""
        found = sorted(self.ask("alerts")["alerts"], key=lambda alert: alert["state"] == "firing")
        return {alert["labels"]["alertname"]: alert["state"] for alert in found}
