"""The manifests under k8s/ as `kubectl` builds them, and what a test wants to know of an object."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from kuber_cron.common.config.host import Host
from kuber_cron.common.config.settings import Settings

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
BUILDS = [
    "base",
    "everything",
    *(f"overlays/{name}" for name in OVERLAYS),
    *(f"components/{name}" for name in COMPONENTS),
]
APP = "app.kubernetes.io"
COMMON = {f"{APP}/name": "kuber-cron", f"{APP}/instance": "kuber-cron", f"{APP}/part-of": "kuber-cron"}

Document = dict[str, Any]


def kubectl(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """What `kubectl` did; its status is not looked at."""
    beside = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere")) / "kubectl"
    program = str(beside) if beside.exists() else shutil.which("kubectl")
    if program is None:
        pytest.skip("install kubectl, or put it into the folder that KUBEBUILDER_ASSETS names")
    return subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, timeout=120, check=False
    )


def kustomized(folder: Path, kustomization: Document) -> str:
    """What a kustomization becomes whose resources and components are parts of k8s/."""
    for key in ("resources", "components"):
        if key in kustomization:
            parts = [K8S.resolve() / part for part in kustomization[key]]
            kustomization[key] = [os.path.relpath(part, folder) for part in parts]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    done = kubectl("kustomize", folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def build(part: str, namespace: str = "") -> list[Document]:
    """The objects of a part of k8s/: a folder, a component on the base, or ``everything`` there is on the base."""
    return list(yaml.safe_load_all(_built(part, namespace)))


@functools.cache
def _built(part: str, namespace: str) -> str:
    said: Document = {"namespace": namespace} if namespace else {}
    if part.startswith("components/"):
        said |= {"resources": ["base"], "components": [part]}
    elif part == "everything":
        said |= {"resources": ["base"], "components": [f"components/{name}" for name in COMPONENTS]}
    else:
        said |= {"resources": [part]}
    with tempfile.TemporaryDirectory() as folder:
        return kustomized(Path(folder).resolve(), said)


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def called(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = [each for each in of_kind(documents, kind) if each["metadata"]["name"] == name]
    return found


def workloads(documents: list[Document]) -> list[Document]:
    return of_kind(documents, "Deployment", "StatefulSet", "Job")


def template(workload: Document) -> Document:
    return workload["spec"]["template"]


def pod(workload: Document) -> Document:
    return template(workload)["spec"]


def containers(workload: Document) -> list[Document]:
    return [*pod(workload).get("initContainers", ()), *pod(workload)["containers"]]


def tier(workload: Document) -> str:
    return str(template(workload)["metadata"]["labels"][f"{APP}/component"])


def of_tier(documents: list[Document], *tiers: str) -> list[Document]:
    return [each for each in of_kind(documents, "Deployment") if tier(each) in tiers]


def environment(workload: Document, documents: list[Document]) -> dict[str, str]:
    """The variables of its first container whose values stand in the manifests."""
    (container, *_) = pod(workload)["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" not in source:
            continue  # a Secret: its values stand nowhere
        found |= called(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}


def settings(workload: Document, documents: list[Document]) -> Settings:
    (container, *_) = pod(workload)["containers"]
    machine = Host(pod=True, namespace="here", cpus=quantity(container["resources"]["limits"]["cpu"]))
    loaded = Settings.load(environment(workload, documents), machine)
    assert loaded.warnings == ()
    return loaded


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector means these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def quantity(text: str) -> float:
    for unit, factor in {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)
