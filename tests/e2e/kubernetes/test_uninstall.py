"""`kubectl delete -k k8s/overlays/dev`: the last of these tests, by its name."""

import time

import pytest
from tests.e2e.kubernetes.installation import NAMESPACE

pytestmark = [pytest.mark.e2e_kubernetes, pytest.mark.timeout(400)]


def test_deleting_it_leaves_nothing_but_what_the_storage_class_retains(installation, figure):
    kubectl = installation.kubectl
    claimed = [one["spec"]["volumeName"] for one in kubectl.json("get", "persistentvolumeclaims")["items"]]
    assert len(claimed) == 1
    began = time.time()
    installation.delete()
    took = time.time() - began
    # The claim goes with the namespace, and the volume's data with the claim, unless the class says "Retain".
    assert not kubectl.has("namespace", NAMESPACE)
    kinds = kubectl("api-resources", "--namespaced=false", "--verbs=list", "--output", "name").split()
    ours = ("--selector", "app.kubernetes.io/part-of=kuber-cron", "--output", "name")
    assert kubectl("get", ",".join(kinds), *ours).split() == []
    assert kubectl("get", "all,configmaps,secrets,leases", "--all-namespaces", *ours).split() == []
    volumes = {one["metadata"]["name"]: one for one in kubectl.json("get", "persistentvolumes")["items"]}
    kept = [name for name in claimed if name in volumes]
    assert all(volumes[name]["spec"]["persistentVolumeReclaimPolicy"] == "Retain" for name in kept)
    assert all(volumes[name]["status"]["phase"] == "Released" for name in kept)
    figure(f"kubectl delete -k k8s/overlays/dev: {took:.0f} s; volumes that are retained: {len(kept)}")
