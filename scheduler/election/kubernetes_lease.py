"""The Lease on a Kubernetes API server, a ``LeaseStore``: the only module that knows the ``kubernetes`` client.

Read and write one object, each as one request: no retries below (urllib3 would send a PUT up to three times
more), a deadline for the whole of it (``request_deadline``), and an answer of at most a mebibyte. Objects are handled as the JSON that the API server sends, not by the client's
models: those drop a time's fraction where it is 0, and whatever field they do not know. What others have put on
the object, labels, owners and annotations, is written back as it was.

Credentials are a pod's own or a kubeconfig's. A pod's token is read anew each minute by the client's own hook;
after a 401 everything is, so a rotated token or certificate costs one attempt.

What it does *not* bound is a name lookup: the election's terms end by the clock, whatever a request does.
"""

import hashlib
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.incluster_config import InClusterConfigLoader

from kuber_cron.common.errors import SettingsError
from kuber_cron.scheduler.election.lease_object import from_object, misfit_of, to_object
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseFailure, LeaseRecord
from kuber_cron.scheduler.election.request_deadline import RequestDeadline

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
_OBJECT = _COLLECTION + "/{name}"
_REASONS: Mapping[int, LeaseFailure] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    429: "too_many_requests",
}
_MESSAGE_LIMIT = 300
_ANSWER_LIMIT = 1 << 20  # bytes; a Lease with all that Kubernetes permits beside it is a third of that

Configure = Callable[[], client.Configuration]


def find(environ: Mapping[str, str], *, home: Path, service_account: Path = SERVICE_ACCOUNT) -> Configure:
    """Find the API server: ``KUBECONFIG``, else the pod's own service account, else ``~/.kube/config``.

    Returns:
        A function that reads that place, anew at each call.

    Raises:
        SettingsError: There is none of them, or it cannot be read.
    """
    named = environ.get("KUBECONFIG", "")
    if named:
        configure = _kubeconfig(named)
    elif environ.get("KUBERNETES_SERVICE_HOST") and (service_account / "token").exists():
        configure = _pod(environ, service_account)
    elif (home / ".kube" / "config").exists():
        configure = _kubeconfig(str(home / ".kube" / "config"))
    else:
        raise SettingsError(
            "no Kubernetes API server is known: this is no pod with a service account token, and there is no "
            "KUBECONFIG and no ~/.kube/config",
            hint="set KUBER_CRON_ELECTION=redis where there is no Kubernetes; in a pod, "
            "automountServiceAccountToken has to be on",
        )
    configure()  # a fault in it is raised at the start
    return configure


def _pod(environ: Mapping[str, str], service_account: Path) -> Configure:
    def configure() -> client.Configuration:
        made = client.Configuration()
        try:
            loader = InClusterConfigLoader(  # type: ignore[no-untyped-call] # the client types it not
                token_filename=str(service_account / "token"),
                cert_filename=str(service_account / "ca.crt"),
                environ=environ,
            )
            loader.load_and_set(made)  # type: ignore[no-untyped-call] # the same
        except (config.ConfigException, OSError) as error:
            raise SettingsError(
                f"the pod's service account in {service_account} cannot be used: {error}",
                hint="the kubelet mounts token and ca.crt there unless automountServiceAccountToken is off",
            ) from error
        return made

    return configure


def _kubeconfig(path: str) -> Configure:
    def configure() -> client.Configuration:
        made = client.Configuration()
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call] # the same
                config_file=path, client_configuration=made, persist_config=False
            )
        except Exception as error:
            # The loader lets YAML's, oauthlib's and its own errors through.
            raise SettingsError(
                f"the kubeconfig {path} cannot be used: {error}",
                hint="does `kubectl get lease` work with it?",
            ) from error
        return made

    return configure


class KubernetesLease:
    """One Lease object. Not for several threads at once."""

    def __init__(self, configure: Configure, *, namespace: str, name: str, request_seconds: float) -> None:
        self.namespace, self.name = namespace, name
        self._configure = configure
        self._request_seconds = request_seconds
        self._api: client.ApiClient | None = None
        self._deadline = RequestDeadline(request_seconds)
        self._raw: dict[str, Any] = {}

    @property
    def kind(self) -> str:
        """The kind of lease, in words for people."""
        return "a Kubernetes Lease"

    def cluster(self) -> str:
        """Return the same for all who contest this Lease, however often it is deleted and created anew."""
        configuration = self._configure()
        bundle = configuration.ca_cert_data or b""
        if configuration.ssl_ca_cert:
            bundle = Path(configuration.ssl_ca_cert).read_bytes()
        if isinstance(bundle, str):
            bundle = bundle.encode()
        digest = hashlib.sha256(bundle.strip())
        digest.update(f"\0{self.namespace}\0{self.name}".encode())
        return digest.hexdigest()

    def read(self) -> LeaseRecord | None:
        """Return the record, None where there is no Lease.

        Raises:
            LeaseError: There was no such answer.
        """
        try:
            self._raw = self._ask("GET", _OBJECT, None)
        except LeaseError as error:
            if error.reason != "not_found":
                raise
            self._raw = {}
            return None
        return from_object(self._raw)

    def write(self, record: LeaseRecord) -> LeaseRecord:
        """Replace the record that was read by ``record``, or create the Lease where its version is empty.

        Returns:
            The record as stored, with its new version.

        Raises:
            LeaseError: It was not written, or nobody knows whether it was.
        """
        meta = self._raw.get("metadata", {})
        before = self._raw if record.version and meta.get("resourceVersion") == record.version else {}
        made = to_object(record, before, namespace=self.namespace, name=self.name)
        self._raw = (
            self._ask("PUT", _OBJECT, made) if record.version else self._ask("POST", _COLLECTION, made)
        )
        stored = from_object(self._raw)
        if (stored.holder, stored.transitions) != (record.holder, record.transitions):
            raise LeaseError(
                f"writing the Lease {self.namespace}/{self.name}: the answer holds another record than was sent, of "
                f"{stored.holder or 'nobody'}",
                reason="transport",
            )
        return stored

    def close(self) -> None:
        """Forget the connection and the credentials; the next request reads them anew."""
        if self._api is not None:
            self._api.close()  # type: ignore[no-untyped-call] # the same
            self._api = None

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        what = f"{method} of the Lease {self.namespace}/{self.name}"
        try:
            with self._deadline.running():
                status, data = self._exchange(method, path, body)
        except (
            urllib3.exceptions.HTTPError,
            ApiException,
            OSError,
            config.ConfigException,
            SettingsError,
        ) as error:
            # ApiException without an answer is how the client reports TLS; the others explain themselves.
            # The connection is not used again, because its answer may yet come.
            self.close()
            if _is_timeout(error):
                raise LeaseError(
                    f"{what}: no whole answer within {self._request_seconds:g} s", reason="timeout"
                ) from error
            raise LeaseError(f"{what}: {_short(error)}", reason="transport") from error
        if len(data) > _ANSWER_LIMIT:
            self.close()
            raise LeaseError(f"{what}: the answer is longer than {_ANSWER_LIMIT} bytes", reason="transport")
        return self._answer(what, status, data)

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        api = self._client()
        request = api.param_serialize(
            method,
            path,
            path_params={"namespace": self.namespace, "name": self.name},
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = api.call_api(*request, _request_timeout=self._request_seconds)
        return response.status, response.response.read(_ANSWER_LIMIT + 1, decode_content=True)

    def _answer(self, what: str, status: int, data: bytes) -> dict[str, Any]:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if 200 <= status < 300:
            if misfit := misfit_of(document, namespace=self.namespace, name=self.name):
                raise LeaseError(f"{what}: the answer is no Lease: {misfit}", reason="transport")
            lease: dict[str, Any] = document
            return lease
        if status == 401:
            self.close()
        reason: LeaseFailure = _REASONS.get(status, "server_error" if status >= 500 else "rejected")
        message = str(document.get("message", "")) if isinstance(document, dict) else ""
        hint = None
        if reason == "forbidden":
            hint = "the service account needs the Role in k8s/base/rbac.yaml: get and update of this Lease, create"
        raise LeaseError(f"{what}: {status}: {message[:_MESSAGE_LIMIT]}", reason=reason, hint=hint)

    def _client(self) -> client.ApiClient:
        if self._api is None:
            configuration = self._configure()
            configuration.retries = False
            configuration.connection_pool_maxsize = 1
            self._api = client.ApiClient(configuration)
            # The client has no setting for it.
            manager = self._api.rest_client.pool_manager
            manager.connection_pool_kw["ssl_context"] = _tls(configuration)
            self._deadline.watch(manager)
        return self._api


def _tls(configuration: client.Configuration) -> ssl.SSLContext:
    """Return urllib3's context, only as strict as Kubernetes is: Python 3.13 refuses a CA without key usage."""
    requirement = ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE
    context = urllib3.util.create_urllib3_context(cert_reqs=requirement)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not (configuration.ssl_ca_cert or configuration.ca_cert_data):
        context.load_default_certs()  # urllib3 does so for contexts of its own only
    return context


def _is_timeout(error: Exception) -> bool:
    # A refused connection and an unknown host are kinds of time-out to urllib3.
    return isinstance(error, TimeoutError) or (
        isinstance(error, urllib3.exceptions.TimeoutError)
        and not isinstance(error, urllib3.exceptions.NewConnectionError)
    )


def _short(error: Exception) -> str:
    message = getattr(error, "reason", None) or str(error) or type(error).__name__
    return " ".join(str(message).split())[:_MESSAGE_LIMIT]
