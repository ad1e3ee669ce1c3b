"""A real API server for tests marked `cluster`: the one that KUBECONFIG names, or one started from KUBEBUILDER_ASSETS.

A module takes it with ``pytest_plugins = ["tests.support.real_cluster_fixture"]`` and the fixture ``cluster``. Everything happens in
namespaces with random names, which are deleted at the end.
"""

import base64
import contextlib
import json
import os
import secrets
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.support.waiting import eventually

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
MANIFESTS = Path(__file__).parents[2] / "k8s" / "base"


@dataclass
class Cluster:
    """An API server and its administrator's credentials."""

    kubeconfig: Path
    stop: Callable[[], None] | None = None  # where the server is ours to stop and start
    start: Callable[[], None] | None = None
    _tls: list[ssl.SSLContext] = field(default_factory=list)

    def __post_init__(self) -> None:
        document = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))
        named = {
            kind: {each["name"]: each for each in document[kind]}
            for kind in ("clusters", "users", "contexts")
        }
        context = named["contexts"][document["current-context"]]["context"]
        self._cluster = named["clusters"][context["cluster"]]["cluster"]
        self._user = named["users"][context["user"]]["user"]
        self.server: str = self._cluster["server"]

    @property
    def ca(self) -> bytes:
        if "certificate-authority-data" in self._cluster:
            return base64.b64decode(self._cluster["certificate-authority-data"])
        path = Path(self._cluster["certificate-authority"])
        return (path if path.is_absolute() else self.kubeconfig.parent / path).read_bytes()

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One request, as the administrator or by a token; status and document."""
        tls = ssl.create_default_context(cadata=self.ca.decode())
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token is not None or "token" in self._user:
            headers["Authorization"] = f"Bearer {token or self._user['token']}"
        if token is None and "client-certificate-data" in self._user:
            pair = self.kubeconfig.parent / f"{self.kubeconfig.name}.client.pem"
            if not pair.exists():
                pair.touch(mode=0o600)
                pair.write_bytes(
                    base64.b64decode(self._user["client-certificate-data"])
                    + b"\n"
                    + base64.b64decode(self._user["client-key-data"])
                )
            tls.load_cert_chain(pair)
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - the kubeconfig's own https
            self.server + path, data, headers, method=method
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else {"message": text.decode()}

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace of the test's own."""
        name = f"kuber-cron-test-{secrets.token_hex(4)}"
        status, said = self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert status == 201, said
        try:
            yield name
        finally:
            with contextlib.suppress(OSError):
                self.ask("DELETE", f"/api/v1/namespaces/{name}")

    def apply(self, manifest: Path, namespace: str) -> None:
        """Create what a manifest holds, in this namespace."""
        paths = {
            "ServiceAccount": f"/api/v1/namespaces/{namespace}/serviceaccounts",
            "Role": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
            "RoleBinding": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
        }
        for document in yaml.safe_load_all(manifest.read_text(encoding="utf-8")):
            status, said = self.ask("POST", paths[document["kind"]], document)
            assert status == 201, said

    def token(self, namespace: str, account: str) -> str:
        """A new token of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        status, said = self.ask("POST", path, {"spec": {"expirationSeconds": 600}})
        assert status == 201, said
        return str(said["status"]["token"])

    def kubeconfig_for(
        self,
        path: Path,
        *,
        namespace: str,
        token: str = "",
        token_file: Path | None = None,
        port: int | None = None,
    ) -> Path:
        """Write a kubeconfig with other credentials, by way of a local port if one is given; its path."""
        split = urlsplit(self.server)
        cluster: dict[str, Any] = {
            "server": self.server,
            "certificate-authority-data": base64.b64encode(self.ca).decode(),
        }
        if port is not None:
            cluster |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": split.hostname}
        user: dict[str, Any] = dict(self._user)
        if token:
            user = {"token": token}
        if token_file is not None:
            user = {"tokenFile": str(token_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}
            ],
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    # --- one Lease, as its owner with kubectl ----------------------------------------------------

    def lease(self, namespace: str, name: str = "kuber-cron") -> dict[str, Any] | None:
        """The object, None where there is none."""
        status, document = self.ask("GET", f"{LEASES.format(namespace)}/{name}")
        return document if status == 200 else None

    def holder(self, namespace: str, name: str = "kuber-cron") -> str:
        """Who holds it; empty for nobody."""
        return ((self.lease(namespace, name) or {}).get("spec") or {}).get("holderIdentity") or ""

    def edit(self, namespace: str, name: str = "kuber-cron", **spec: Any) -> None:
        """Change fields of the spec by hand, or make the Lease with them."""

        def has_edited() -> bool:
            before = self.lease(namespace, name)
            if before is None:
                made = {"metadata": {"name": name}, "spec": spec}
                status, said = self.ask("POST", LEASES.format(namespace), made)
            else:
                before["spec"] |= spec
                status, said = self.ask("PUT", f"{LEASES.format(namespace)}/{name}", before)
            assert status in {200, 201, 409}, said
            return status != 409

        eventually(has_edited)

    def delete(self, namespace: str, name: str = "kuber-cron") -> None:
        """Delete it."""
        self.ask("DELETE", f"{LEASES.format(namespace)}/{name}")


class Wire:
    """A local port that leads to an API server, and can be cut: what an API server that stops looks like."""

    def __init__(self, server: str) -> None:
        split = urlsplit(server)
        self._target = (split.hostname or "127.0.0.1", split.port or 443)
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.join()

    def join(self) -> None:
        """It leads there."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Connections break, and new ones are refused. Idempotent."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=60)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            if each in self._open and each is source:
                self._open.discard(each)
                each.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class _Started:
    """etcd and kube-apiserver as processes of ours."""

    def __init__(self, assets: Path, directory: Path) -> None:
        self._assets, self._directory = assets, directory
        self._etcd_port, self._peer_port, self._port = _free_port(), _free_port(), _free_port()
        self._token = secrets.token_hex(16)
        self._etcd: subprocess.Popen[bytes] | None = None
        self._api: subprocess.Popen[bytes] | None = None
        self._log = (directory / "apiserver.log").open("wb")
        self._key = directory / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", self._key, "2048"], check=True, capture_output=True)
        (directory / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')
        self._run_etcd()
        self.start()
        certificate = base64.b64encode((directory / "certs" / "apiserver.crt").read_bytes()).decode()
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [
                        {
                            "name": "test",
                            "cluster": {
                                "server": f"https://127.0.0.1:{self._port}",
                                "certificate-authority-data": certificate,
                            },
                        }
                    ],
                    "users": [{"name": "admin", "user": {"token": self._token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                }
            )
        )

    def _run_etcd(self) -> None:
        self._etcd = subprocess.Popen(
            [
                self._assets / "etcd",
                f"--data-dir={self._directory / 'etcd'}",
                "--unsafe-no-fsync",
                f"--listen-client-urls=http://127.0.0.1:{self._etcd_port}",
                f"--advertise-client-urls=http://127.0.0.1:{self._etcd_port}",
                f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def start(self) -> None:
        """The API server answers."""
        self._api = subprocess.Popen(
            [
                self._assets / "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--authorization-mode=RBAC",
                f"--token-auth-file={self._directory / 'tokens.csv'}",
                f"--cert-dir={self._directory / 'certs'}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self._key}",
                f"--service-account-signing-key-file={self._key}",
                "--disable-admission-plugins=ServiceAccount",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        eventually(self._is_ready, 90, every=0.2)

    def _is_ready(self) -> bool:
        assert self._api is not None
        assert self._api.poll() is None, "kube-apiserver has ended"
        tls = ssl._create_unverified_context()  # noqa: S323 - its certificate is made as it starts
        request = urllib.request.Request(
            f"https://127.0.0.1:{self._port}/readyz", headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2, context=tls) as answer:  # noqa: S310 - the same
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """The API server has ended; etcd keeps what it stored."""
        if self._api is not None:
            self._api.terminate()
            try:
                self._api.wait(60)
            except subprocess.TimeoutExpired:
                self._api.kill()
                self._api.wait()
            self._api = None

    def end(self) -> None:
        self.stop()
        if self._etcd is not None:
            self._etcd.terminate()
            self._etcd.wait(60)
        self._log.close()


@contextlib.contextmanager
def found(directory: Path) -> Iterator[Cluster]:
    """The API server that the environment names; the test is skipped where it names none."""
    if named := os.environ.get("KUBECONFIG"):
        yield Cluster(Path(named))
    elif assets := os.environ.get("KUBEBUILDER_ASSETS"):
        started = _Started(Path(assets), directory)
        try:
            yield Cluster(started.kubeconfig, started.stop, started.start)
        finally:
            started.end()
    else:
        pytest.skip(
            "set KUBECONFIG to a cluster's, or KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver"
        )
