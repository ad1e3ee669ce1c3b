"""The Lease object through the client: the same answers from the double and from a real API server."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer

from kuber_cron.common.errors import SettingsError
from kuber_cron.scheduler.election import kubernetes_lease, lease_rules
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseRecord

pytest_plugins = ["tests.support.real_cluster_fixture"]

WALL = datetime(2026, 1, 1, 12, 0, 0, 0, UTC)


@dataclass
class Place:
    """A namespace on an API server: a client, and what an owner with kubectl may do."""

    kubeconfig: Path
    namespace: str
    edit: Callable[..., None]
    delete: Callable[[], object]
    stored: Callable[[], dict[str, Any] | None]

    def client(self, **options: Any) -> kubernetes_lease.KubernetesLease:
        configure = kubernetes_lease.find({"KUBECONFIG": str(self.kubeconfig)}, home=Path("/nowhere"))
        given = {"namespace": self.namespace, "name": "kuber-cron", "request_seconds": 3.0, **options}
        return kubernetes_lease.KubernetesLease(configure, **given)


@pytest.fixture(params=["double", pytest.param("cluster", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "double":
        with ApiServer() as api:
            yield Place(
                api.kubeconfig(tmp_path / "kubeconfig"),
                "default",
                lambda **spec: api.edit("kuber-cron", **spec),
                lambda: api.delete("kuber-cron"),
                lambda: api.lease("kuber-cron"),
            )
        return
    cluster = request.getfixturevalue("cluster")
    with cluster.namespace() as namespace:
        yield Place(
            cluster.kubeconfig,
            namespace,
            lambda **spec: cluster.edit(namespace, **spec),
            lambda: cluster.delete(namespace),
            lambda: cluster.lease(namespace),
        )


def record(
    holder: str = "one", epoch: int = 7, before: LeaseRecord | None = None, **changes: Any
) -> LeaseRecord:
    made = lease_rules.taken(before, holder=holder, epoch=epoch, lease=15.0, wall=WALL, through=3)
    return replace(made, **changes)


def refusal(client: kubernetes_lease.KubernetesLease, written: LeaseRecord) -> str:
    with pytest.raises(LeaseError) as raised:
        client.write(written)
    return raised.value.reason


def test_a_lease_is_made_read_renewed_and_given_back(place):
    client = place.client()
    assert client.read() is None
    made = client.write(record())
    assert replace(made, version="") == record()
    assert place.client().read() == made
    renewed = client.write(lease_rules.renewed(made, holder="one", epoch=7, lease=15.0, wall=WALL, through=9))
    assert (renewed.acquired_at, renewed.through) == (made.acquired_at, 9)
    given_back = client.write(lease_rules.released(renewed, wall=WALL, through=9))
    assert (given_back.holder, given_back.duration_seconds, given_back.transitions) == ("", 1, 7)
    assert place.client().read() == given_back


def test_the_record_has_what_client_gos_elector_reads_and_in_its_formats(place):
    place.client().write(record())
    stored = place.stored()
    assert stored["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T12:00:00.000001Z",
        "renewTime": "2026-01-01T12:00:00.000001Z",
        "leaseTransitions": 7,
    }
    assert stored["metadata"]["annotations"] == {"kuber-cron.io/through": "3"}


def test_who_comes_second_is_told_of_the_conflict(place):
    one, two = place.client(), place.client()
    made = one.write(record())
    assert refusal(two, record("two")) == "conflict"
    assert two.read() == made
    taken = two.write(record("two", 8, made))
    assert refusal(one, record("one", 9, made)) == "conflict"
    assert one.read() == taken


def test_a_deleted_lease_is_told_apart_from_one_that_never_was(place):
    client = place.client()
    made = client.write(record())
    place.delete()
    assert refusal(client, record(before=made)) in {"conflict", "not_found"}
    assert client.read() is None
    assert client.write(record()).version


def test_a_lease_deleted_and_made_anew_is_not_overwritten(place):
    client = place.client()
    made = client.write(record())
    place.delete()
    place.edit(holderIdentity="two", leaseDurationSeconds=15)
    assert refusal(client, record(before=made)) == "conflict"
    assert client.read().holder == "two"


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_seconds": 0},
        {"renewed_at": "2026-01-01T12:00:00Z"},
        {"transitions": 2**31},
        {"transitions": -1},
    ],
    ids=["no duration", "whole seconds", "int32", "negative"],
)
def test_what_the_api_server_does_not_take_is_told_as_rejected(place, wrong):
    assert refusal(place.client(), record(**wrong)) == "rejected"
    assert place.stored() is None


def test_what_others_wrote_on_the_object_stays(place):
    place.edit(holderIdentity="", leaseDurationSeconds=1, leaseTransitions=4)
    client = place.client()
    before = client.read()
    client._raw["metadata"]["labels"] = {"team": "night"}
    client._raw["metadata"].setdefault("annotations", {})["owner"] = "somebody"
    labelled = client.write(record(before=before))
    again = place.client()
    again.write(record(epoch=8, before=again.read()))
    assert labelled.transitions == 7
    meta = place.stored()["metadata"]
    assert meta["labels"] == {"team": "night"}
    assert meta["annotations"] == {"owner": "somebody", "kuber-cron.io/through": "3"}


def test_a_record_of_hand_with_half_of_its_fields_is_read(place):
    place.edit(holderIdentity="somebody")
    read = place.client().read()
    assert (read.holder, read.duration_seconds, read.transitions, read.renewed_at) == ("somebody", 15, 0, "")


# --- faults, on the double alone -----------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        ("hang", {}, "timeout"),
        ("commit_then_hang", {}, "timeout"),
        ("drop", {}, "transport"),
        ("commit_then_drop", {}, "transport"),
        ("error", {}, "server_error"),
        ("error", {"status": 500}, "server_error"),
        ("throttle", {}, "too_many_requests"),
        ("conflict", {}, "conflict"),
        ("unauthorized", {}, "unauthorized"),
        ("forbidden", {}, "forbidden"),
        ("garbage", {}, "transport"),
        ("flood", {}, "transport"),
        ("trickle", {}, "timeout"),
        ("error", {"status": 422}, "rejected"),
    ],
)
def test_each_fault_is_one_request_and_one_reason(api, tmp_path, fault, options, reason):
    configure = kubernetes_lease.find(
        {"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}, home=tmp_path
    )
    hasty, client = (
        kubernetes_lease.KubernetesLease(
            configure, namespace="default", name="kuber-cron", request_seconds=seconds
        )
        for seconds in (0.3, 10.0)
    )
    made = client.write(record())
    asked = hasty if reason == "timeout" or fault in {"trickle", "flood"} else client
    asked.read()
    seen = len(api.requests)
    api.inject(fault, count=1, **options)
    assert refusal(asked, record(before=made)) == reason
    api.clear()
    assert client.read().version == (api.lease("kuber-cron") or {})["metadata"]["resourceVersion"]
    assert len(api.requests) <= seen + 2
    was_written = client.read().version != made.version
    assert was_written is (fault.startswith("commit") or fault == "trickle")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_answer_that_trickles_is_cut_off_at_the_deadline_of_the_whole_request(api, tmp_path, method):
    client = kubernetes_lease.KubernetesLease(
        kubernetes_lease.find({"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}, home=tmp_path),
        namespace="default",
        name="kuber-cron",
        request_seconds=1.0,
    )
    made = client.write(record())
    api.inject("trickle", count=1)
    began = time.monotonic()
    with pytest.raises(LeaseError, match="no whole answer within 1 s") as raised:
        client.read() if method == "GET" else client.write(record(before=made))
    assert raised.value.reason == "timeout"
    assert time.monotonic() - began < 5  # all its bytes would take a minute
    assert client.read() is not None


WHOLE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"namespace": "default", "name": "kuber-cron", "resourceVersion": "7", "annotations": {}},
    "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": 3},
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "Status"}, "kind are 'coordination.k8s.io/v1' and 'Status'"),
        ({"kind": "LeaseList"}, "'LeaseList'"),
        ({"apiVersion": "v1"}, "are 'v1' and 'Lease'"),
        ({"metadata": None}, "it has no metadata"),
        ({"metadata": {**WHOLE["metadata"], "name": "other"}}, "it is 'default'/'other'"),
        ({"metadata": {**WHOLE["metadata"], "namespace": "other"}}, "it is 'other'/'kuber-cron'"),
        ({"metadata": {**WHOLE["metadata"], "resourceVersion": 7}}, "it has no resourceVersion"),
        ({"metadata": {**WHOLE["metadata"], "annotations": []}}, None),
        ({"metadata": {**WHOLE["metadata"], "annotations": ["a"]}}, "its annotations are no object"),
        ({"spec": ["a"]}, "its spec is no object"),
        ({"spec": {"holderIdentity": 7}}, "its holderIdentity is no text"),
        ({"spec": {"leaseDurationSeconds": "15"}}, "its leaseDurationSeconds is no count"),
        ({"spec": {"leaseDurationSeconds": 1e300}}, "its leaseDurationSeconds is no count"),
        ({"spec": {"leaseTransitions": True}}, "its leaseTransitions is no count"),
        ({"spec": {"leaseTransitions": -1}}, "its leaseTransitions is no count"),
        ({"spec": {"renewTime": {"seconds": 1}}}, "its renewTime is no text"),
        ({"spec": None}, None),
        ({}, None),
    ],
)
def test_what_is_answered_for_the_lease_has_to_be_that_lease(api, tmp_path, change, sentence):
    client = kubernetes_lease.KubernetesLease(
        kubernetes_lease.find({"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}, home=tmp_path),
        namespace="default",
        name="kuber-cron",
        request_seconds=1.0,
    )
    api.inject("other", document=WHOLE | change)
    if sentence is None:
        assert client.read().version == "7"
        return
    with pytest.raises(LeaseError, match="the answer is no Lease") as raised:
        client.read()
    assert sentence in raised.value.message
    assert raised.value.reason == "transport"


def test_a_write_is_believed_only_where_the_answer_holds_what_was_sent(api, tmp_path):
    client = kubernetes_lease.KubernetesLease(
        kubernetes_lease.find({"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}, home=tmp_path),
        namespace="default",
        name="kuber-cron",
        request_seconds=1.0,
    )
    made = client.write(record())
    api.inject("other", document=WHOLE, methods=("PUT",))
    with pytest.raises(LeaseError, match="holds another record than was sent, of one"):
        client.write(record(before=made))


def test_an_api_server_that_is_away_is_told_as_transport_and_found_again(api, tmp_path):
    configure = kubernetes_lease.find(
        {"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}, home=tmp_path
    )
    client = kubernetes_lease.KubernetesLease(
        configure, namespace="default", name="kuber-cron", request_seconds=1.0
    )
    made = client.write(record())
    api.stop()
    assert refusal(client, record(before=made)) == "transport"
    api.start()
    assert client.read() == made


def test_a_token_that_was_rotated_costs_one_attempt(tmp_path):
    with ApiServer(tokens=["old"]) as api:
        path = api.kubeconfig(tmp_path / "kubeconfig", token="old")
        client = kubernetes_lease.KubernetesLease(
            kubernetes_lease.find({"KUBECONFIG": str(path)}, home=tmp_path),
            namespace="default",
            name="kuber-cron",
            request_seconds=1.0,
        )
        assert client.read() is None
        api.tokens = {"new"}
        api.kubeconfig(tmp_path / "kubeconfig", token="new")
        with pytest.raises(LeaseError) as raised:
            client.read()
        assert raised.value.reason == "unauthorized"
        assert client.read() is None


def test_a_pods_service_account_is_used_and_its_token_read_again_after_a_401(tmp_path):
    with ApiServer(tokens=["old"]) as api:
        port = api.url.rpartition(":")[2]
        account = tmp_path / "serviceaccount"
        account.mkdir()
        (account / "token").write_text("old")
        (account / "ca.crt").write_text("a certificate")
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
        configure = kubernetes_lease.find(environ, home=tmp_path, service_account=account)

        def plain() -> Any:
            made = configure()
            assert made.host == f"https://127.0.0.1:{port}"
            # The double speaks no TLS, and the client's hook would set the address again.
            made.host, made.ssl_ca_cert, made.refresh_api_key_hook = api.url, None, None
            return made

        client = kubernetes_lease.KubernetesLease(
            plain, namespace="default", name="kuber-cron", request_seconds=1.0
        )
        assert client.read() is None
        api.tokens = {"new"}
        (account / "token").write_text("new")
        with pytest.raises(LeaseError) as raised:
            client.read()
        assert raised.value.reason == "unauthorized"
        assert client.read() is None


def _signed(directory: Path) -> Path:
    """A CA without key usage, as `openssl req -x509` makes it, and what it signed for 127.0.0.1: ca.crt, both.pem."""
    run = partial(subprocess.run, cwd=directory, check=True, capture_output=True)
    new = ["-newkey", "rsa:2048", "-nodes", "-subj"]
    run(["openssl", "req", "-x509", *new, "/CN=ca", "-days", "1", "-keyout", "ca.key", "-out", "ca.crt"])
    run(["openssl", "req", *new, "/CN=api", "-keyout", "api.key", "-out", "api.csr"])
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names"]
    run(["openssl", "x509", "-req", "-in", "api.csr", *signing, "-out", "api.crt"])
    both = directory / "both.pem"
    both.write_bytes((directory / "api.crt").read_bytes() + (directory / "api.key").read_bytes())
    return both


def test_a_ca_without_key_usage_is_believed_as_kubernetes_believes_it_and_a_foreign_one_is_not(tmp_path):
    # Python 3.13 is stricter: "CA cert does not include key usage extension".
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    for each in (own, foreign):
        each.mkdir()
        _signed(each)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own / "both.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                raw, _ = listener.accept()
                with contextlib.suppress(OSError), tls.wrap_socket(raw, server_side=True) as asked:
                    asked.recv(65536)
                    asked.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")

        threading.Thread(target=serve, daemon=True).start()

        def lease(account: Path) -> kubernetes_lease.KubernetesLease:
            (account / "token").write_text("t")
            port = str(listener.getsockname()[1])
            environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
            configure = kubernetes_lease.find(environ, home=tmp_path, service_account=account)
            return kubernetes_lease.KubernetesLease(
                configure, namespace="default", name="kuber-cron", request_seconds=5.0
            )

        assert lease(own).read() is None
        with pytest.raises(LeaseError, match="CERTIFICATE_VERIFY_FAILED"):
            lease(foreign).read()


def test_a_cluster_is_the_same_for_all_replicas_and_another_for_another_lease(tmp_path):
    with ApiServer() as api:
        configure = kubernetes_lease.find({"KUBECONFIG": str(api.kubeconfig(tmp_path / "k"))}, home=tmp_path)
        names = [("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")]
        clusters = [
            kubernetes_lease.KubernetesLease(
                configure, namespace=space, name=name, request_seconds=1.0
            ).cluster()
            for space, name in names
        ]
    assert clusters[0] == clusters[1]
    assert len(set(clusters)) == 3


def test_without_any_api_server_the_start_says_what_is_missing(tmp_path):
    with pytest.raises(SettingsError, match="no Kubernetes API server is known") as raised:
        kubernetes_lease.find({}, home=tmp_path)
    assert "KUBER_CRON_ELECTION=redis" in (raised.value.hint or "")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match="/missing cannot be used"):
        kubernetes_lease.find({"KUBECONFIG": str(tmp_path / "missing")}, home=tmp_path)
