"""The HTTP server of metrics and health, over real sockets."""

import gzip
import json
import socket
import threading
import time
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from tests.support.waiting import eventually

from kuber_cron.common.errors import SettingsError
from kuber_cron.common.observability import http_server
from kuber_cron.common.observability.health import Health
from kuber_cron.common.observability.http_server import PortInUseError


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Gauge("cron_running", "Runs.", registry=registry).set(3)
    return registry


@pytest.fixture
def health():
    return Health("worker")


@pytest.fixture
def server(registry, health):
    with http_server.start(registry, "127.0.0.1", 0, health) as server:
        yield server


def get(server, path, headers=None, method="GET", host="127.0.0.1"):
    connection = HTTPConnection(host, server.port, timeout=60)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def request_threads():
    return [thread for thread in threading.enumerate() if thread.name == "telemetry-request"]


def test_metrics_in_the_plain_format(server):
    status, headers, body = get(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert [sample.value for family in parse(body.decode()) for sample in family.samples] == [3.0]


def test_metrics_as_openmetrics_and_gzip_when_asked(server):
    _, headers, body = get(
        server,
        "/metrics",
        {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"},
    )
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert [family.name for family in parse_openmetrics(gzip.decompress(body).decode())] == ["cron_running"]


def test_one_metric_by_name(server, registry):
    Gauge("cron_other", "Other.", registry=registry)
    _, _, body = get(server, "/metrics?name[]=cron_other")
    assert [family.name for family in parse(body.decode())] == ["cron_other"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_json_with_200_or_503(server, health, path):
    answers = ["ok"]
    health.add("loop", lambda: answers[0], live=True)
    status, headers, body = get(server, path)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "status": "ok",
        "tier": "worker",
        "leader": None,
        "epoch": None,
        "checks": {"loop": "ok"},
    }
    answers[0] = "the loop stands still"
    status, _, body = get(server, path)
    assert status == 503
    assert json.loads(body)["checks"] == {"loop": "the loop stands still"}


def test_elsewhere_is_404_with_the_list(server):
    status, _, body = get(server, "/")
    assert status == 404
    assert all(path in body.decode() for path in ("/metrics", "/livez", "/readyz"))


def test_head_answers_without_a_body(server):
    status, headers, body = get(server, "/metrics", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_a_metric_that_fails_is_500_and_the_server_goes_on(server, registry):
    class Broken:
        def collect(self):
            raise KeyError("x")

        def describe(self):
            return []

    registry.register(Broken())
    assert get(server, "/metrics")[0] == 500
    assert get(server, "/livez")[0] == 200


def test_requests_leave_no_line_behind(server, capfd):
    get(server, "/metrics")
    get(server, "/nowhere")
    assert capfd.readouterr() == ("", "")


def test_all_addresses_are_ipv4_and_where_the_machine_has_it_ipv6(registry, health):
    with http_server.start(registry, "", 0, health) as server:
        assert get(server, "/livez")[0] == 200
        try:
            socket.create_connection(("::1", server.port), timeout=60).close()
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        assert get(server, "/livez", host="::1")[0] == 200


def test_a_port_in_use_is_named_with_its_holder_and_the_remedy(server, registry, health):
    with pytest.raises(PortInUseError) as raised:
        http_server.start(registry, "127.0.0.1", server.port, health)
    assert str(server.port) in raised.value.message
    assert "KUBER_CRON_METRICS_PORT" in (raised.value.hint or "")


def test_an_address_of_another_machine_is_a_bad_setting(registry, health):
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        http_server.start(registry, "192.0.2.1", 0, health)


def test_stopping_frees_the_port_at_once_even_with_a_request_open(registry, health):
    server = http_server.start(registry, "127.0.0.1", 0, health)
    with connect(server) as slow:
        slow.sendall(b"GET /metr")
        eventually(request_threads)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 4  # it does not wait for the 5 s that a client may be silent
        assert slow.recv(1) == b""
    eventually(lambda: not request_threads())
    http_server.start(registry, "127.0.0.1", server.port, health).stop()
    server.stop()


def test_a_crowd_of_slow_clients_does_not_keep_the_probe_out(server):
    crowd = [connect(server) for _ in range(3 * http_server.MAX_REQUESTS)]
    try:
        assert get(server, "/livez")[0] == 200
        assert len(request_threads()) <= 2 * http_server.MAX_REQUESTS
        eventually(lambda: len(request_threads()) <= http_server.MAX_REQUESTS)
    finally:
        for client in crowd:
            client.close()
    eventually(lambda: not request_threads())


def test_a_client_that_dribbles_is_cut_off(registry, health, monkeypatch):
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    with http_server.start(registry, "127.0.0.1", 0, health) as server, connect(server) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        slow.settimeout(3)
        assert slow.recv(1) == b""  # long before the silence of 5 s


def test_a_scraper_that_does_not_read_holds_up_nobody(registry, health):
    class Large:
        def collect(self):
            family = GaugeMetricFamily("large", "Large.", labels=["n"])
            for number in range(60_000):
                family.add_metric([f"{number:060}"], 1)
            yield family

        def describe(self):
            return []

    registry.register(Large())
    with http_server.start(registry, "127.0.0.1", 0, health) as server, connect(server) as slow:
        slow.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        slow.recv(1)  # it is being sent, and stays unread
        assert get(server, "/metrics?name[]=cron_running")[0] == 200


def test_what_is_not_http_is_refused_and_the_server_goes_on(server):
    with connect(server) as stranger:
        stranger.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        stranger.shutdown(socket.SHUT_WR)
        assert b"400" in stranger.recv(4096)
    assert get(server, "/livez")[0] == 200
