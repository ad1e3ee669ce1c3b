"""Telemetry: the metric registry of a process, and the small HTTP server of /metrics, /livez and /readyz.

Nothing here may hold up the work. Each request has a thread of its own, at most 16 at once; whoever has not taken
its answer within 10 s is cut off, and when all threads are taken, the oldest is, so that the kubelet's probe gets
through however many slow scrapers there are. Nothing is registered globally, so a process may hold several.
"""

import contextlib
import errno
import gzip
import json
import selectors
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import prometheus_client
import psutil
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from kuber_cron.common.clock import Clock, SystemClock
from kuber_cron.common.errors import KuberCronError, SettingsError
from kuber_cron.common.observability.health import Health

log = structlog.get_logger(__name__)


class PortInUseError(KuberCronError):
    """The port for metrics and health is taken."""

    code = "port-in-use"


MAX_REQUESTS = 16
REQUEST_SECONDS = 10.0
_SILENCE_SECONDS = 5.0  # without a byte from or to the client
_GZIP_LEVEL = 4  # a quarter of the time of 9 for nearly its size
_RETRY_ACCEPT_SECONDS = 0.2


class CpuCollector(Collector):
    """``cron_cpu_usage_percent``: this process, its running children, and those that ended since the last look.

    Percent of one CPU, so four busy cores are 400, averaged since the scrape before, or since this object was
    made; a scrape within a second of another repeats its answer. A grandchild that its parent abandoned leaves
    the sum, and macOS does not say what ended children used.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._process = psutil.Process()
        self._looking = threading.Lock()
        self._at = self._clock.elapsed()
        self._used = self._cpu_seconds()
        self._percent = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge, by the CPU time used since the look before."""
        with self._looking:
            now = self._clock.elapsed()
            if now - self._at >= 1.0:
                used = self._cpu_seconds()
                self._percent = max(0.0, 100 * (used - self._used) / (now - self._at))
                self._at, self._used = now, used
            percent = self._percent
        yield GaugeMetricFamily(
            "cron_cpu_usage_percent",
            "CPU used by this process and its commands, percent of one CPU.",
            value=percent,
        )

    def _cpu_seconds(self) -> float:
        """CPU seconds of the whole family. What ended children used moves from theirs into their parent's."""
        total = 0.0
        for process in (self._process, *self._process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total


def make_registry() -> CollectorRegistry:
    """A registry of this process' own: its CPU use, memory, descriptors, threads and garbage collection."""
    # "_created" doubles the number of series, and no rule of ours asks for one. Process-wide, and idempotent.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # prometheus_client types it not
    registry = CollectorRegistry(auto_describe=True)
    registry.register(CpuCollector())
    prometheus_client.ProcessCollector(registry=registry)
    prometheus_client.PlatformCollector(registry=registry)
    prometheus_client.GCCollector(registry=registry)
    return registry


def start(registry: CollectorRegistry, host: str, port: int, health: Health) -> "TelemetryServer":
    """The server, listening already; ``port`` 0 takes any free one, which is logged.

    Args:
        registry: What ``/metrics`` shows.
        host: The address to bind; ``""`` for all, IPv4 and IPv6.
        port: The port.
        health: What ``/livez`` and ``/readyz`` show.

    Raises:
        PortInUseError: Somebody else listens there.
        SettingsError: The address is none of this machine's, or the port is not permitted.
    """
    server = TelemetryServer(_listen(host, port), registry, health)
    log.info("telemetry is served", host=host or "*", port=server.port)
    return server


class TelemetryServer:
    """Serves until :meth:`stop`."""

    def __init__(self, listener: socket.socket, registry: CollectorRegistry, health: Health) -> None:
        self.registry = registry
        self.health = health
        self.rendering = threading.Lock()  # one scrape at a time: two would only halve each other's speed
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._clock = SystemClock()
        self._requests: dict[socket.socket, float] = {}  # by age: dicts keep their order
        self._threads = 0  # the requests, and those cut off whose thread has not ended yet
        self._changing = threading.Lock()
        self._wake_up, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="telemetry", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nothing listens any more and open requests are cut off. Idempotent."""
        with contextlib.suppress(OSError):
            self._wake_up.send(b"x")
        self._thread.join()
        self._wake_up.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener, self._woken:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(self._until_next_deadline())}
                if self._woken in ready:
                    break
                self._cut_off_late_ones()
                if self._listener in ready and not self._accept():
                    # Out of descriptors or threads: asking again at once would only burn CPU.
                    selector.unregister(self._listener)
                    stopped = selector.select(_RETRY_ACCEPT_SECONDS)
                    selector.register(self._listener, selectors.EVENT_READ)
                    if stopped:
                        break
        with self._changing:
            for request in self._requests:
                _cut_off(request)

    def _accept(self) -> bool:
        try:
            request, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return True
        except OSError as error:
            log.warning("telemetry cannot accept a request", error=str(error))
            return False
        with self._changing:
            if self._threads >= 2 * MAX_REQUESTS:  # those cut off have not even noticed yet
                request.close()
                return True
            if len(self._requests) >= MAX_REQUESTS:
                oldest = next(iter(self._requests))
                del self._requests[oldest]
                _cut_off(oldest)
            self._requests[request] = self._clock.elapsed()
            self._threads += 1
        try:
            threading.Thread(
                target=self._answer, args=(request, address), name="telemetry-request", daemon=True
            ).start()
        except RuntimeError as error:
            log.warning("telemetry cannot answer a request", error=str(error))
            self._forget(request)
            return False
        return True

    def _answer(self, request: socket.socket, address: Any) -> None:
        try:
            # Serves the one request in its constructor. It asks nothing of a server but to be handed through.
            _Handler(request, address, self)  # type: ignore[arg-type] # not socketserver's
        except (OSError, ValueError):
            pass  # the client went away, or was cut off
        except Exception:
            log.exception("telemetry failed to answer a request")
        finally:
            self._forget(request)

    def _forget(self, request: socket.socket) -> None:
        with self._changing:
            self._requests.pop(request, None)
            self._threads -= 1
            request.close()

    def _until_next_deadline(self) -> float | None:
        with self._changing:
            oldest = next(iter(self._requests.values()), None)
        return None if oldest is None else max(0.05, oldest + REQUEST_SECONDS - self._clock.elapsed())

    def _cut_off_late_ones(self) -> None:
        now = self._clock.elapsed()
        with self._changing:
            for request, began in self._requests.items():
                if now - began >= REQUEST_SECONDS:
                    _cut_off(request)


def _cut_off(request: socket.socket) -> None:
    """The thread that serves it finds the connection closed."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers one GET or HEAD, and closes."""

    server: TelemetryServer  # type: ignore[assignment] # not socketserver's
    server_version = "kuber-cron"
    sys_version = ""
    timeout = _SILENCE_SECONDS

    def do_GET(self) -> None:
        """Serve the three paths."""
        url = urlsplit(self.path)
        if url.path == "/metrics":
            self._metrics(parse_qs(url.query).get("name[]", []))
        elif url.path in {"/livez", "/readyz"}:
            report = self.server.health.live() if url.path == "/livez" else self.server.health.ready()
            status = HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, "application/json", json.dumps(report.to_dict()).encode() + b"\n")
        else:
            self._send(
                HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"here are: /metrics /livez /readyz\n"
            )

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _metrics(self, names: list[str]) -> None:
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        compress = gzip_accepted(self.headers.get("Accept-Encoding", ""))
        try:
            with self.server.rendering:
                body = encode(
                    self.server.registry.restricted_registry(names) if names else self.server.registry
                )
        except Exception:
            log.exception("a metric cannot be collected")
            self._send(
                HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"a metric cannot be collected, see the log\n"
            )
            return
        if compress:
            body = gzip.compress(body, compresslevel=_GZIP_LEVEL)
        self._send(HTTPStatus.OK, content_type, body, {"Content-Encoding": "gzip"} if compress else {})

    def _send(
        self, status: HTTPStatus, content_type: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """No line per request: Prometheus and the kubelet ask every few seconds."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} for metrics and health is taken{_holder(port)}",
                hint="another kuber-cron on this machine? Choose a port by --metrics-port or KUBER_CRON_METRICS_PORT; "
                "0 takes any free one",
            ) from error
        raise SettingsError(
            f"cannot serve metrics and health on {host or 'all addresses'}, port {port}: {error.strerror or error}",
            hint="KUBER_CRON_METRICS_HOST is an address of this machine; ports below 1024 are root's",
        ) from error
    listener.setblocking(False)
    return listener


def _bind(host: str, port: int) -> socket.socket:
    if not host:
        if socket.has_dualstack_ipv6():
            try:
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise
                # IPv6 is compiled in and switched off
        return socket.create_server(("", port))
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family)


def _holder(port: int) -> str:
    """`` by process 4711 (python)`` where the system tells us, else nothing."""
    with contextlib.suppress(psutil.Error, OSError, AttributeError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
