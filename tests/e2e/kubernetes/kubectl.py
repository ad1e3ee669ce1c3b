"""kubectl on the cluster that KUBECONFIG names, and a local port that leads to a pod."""

import json
import os
import shutil
import subprocess
import threading
from types import TracebackType
from typing import Any, Self

import pytest
from tests.e2e.stack import run
from tests.faults.ports import free_port


class Kubectl:
    """``kubectl --namespace …``."""

    def __init__(self, program: str, namespace: str) -> None:
        self.program = program
        self.namespace = namespace

    def __call__(self, *words: str, seconds: float = 60) -> str:
        """What it says; its failure, with what it said."""
        return run(self.program, "--namespace", self.namespace, *words, seconds=seconds)

    def json(self, *words: str) -> dict[str, Any]:
        """An object, or a list of them: ``json("get", "pods")``."""
        return dict(json.loads(self(*words, "--output", "json")))

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an object."""
        return bool(self("get", kind, name, "--ignore-not-found", "--output", "name").strip())

    def allows(self, account: str, verb: str, resource: str) -> bool:
        """Whether a service account of the namespace may do that."""
        done = subprocess.run(
            [
                self.program, "--namespace", self.namespace, "auth", "can-i", verb, resource,
                "--as", f"system:serviceaccount:{self.namespace}:{account}",
            ],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() in {"yes", "no"}, done.stderr
        return done.stdout.strip() == "yes"

    def within(self, namespace: str) -> "Kubectl":
        """The same for another namespace."""
        return Kubectl(self.program, namespace)


def found(namespace: str) -> Kubectl:
    """kubectl for a cluster with a node; the test is skipped where there is none."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("set KUBECONFIG to the file of a cluster whose nodes have the images")
    program = shutil.which("kubectl") or shutil.which(
        "kubectl", path=os.environ.get("KUBEBUILDER_ASSETS", "")
    )
    if program is None:
        pytest.skip("install kubectl, on PATH or in the folder that KUBEBUILDER_ASSETS names")
    kubectl = Kubectl(program, namespace)
    if not kubectl.json("get", "nodes")["items"]:
        pytest.skip("the cluster of KUBECONFIG has no node to run pods on")
    return kubectl


class Forward:
    """A local port that leads to a pod, and to the next one of that name: ``kubectl port-forward`` ends with its pod."""

    def __init__(self, kubectl: Kubectl, target: str, port: int) -> None:
        self.port = free_port()
        self._words = [
            kubectl.program, "--namespace", kubectl.namespace, "port-forward", target, f"{self.port}:{port}",
        ]  # fmt: skip
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="forward", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._process is not None:
            self._process.kill()
        self._keeper.join(10)

    def _keep(self) -> None:
        while not self._stop.is_set():
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            if self._stop.is_set():
                self._process.kill()
            self._process.wait()
            self._stop.wait(0.1)
