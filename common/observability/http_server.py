"""The HTTP server of /metrics, /livez and /readyz.

Nothing here may hold up the work. Each request has a thread of its own, at most 16 at once. A client that has not taken
its response within 10 s is cut off. When all threads are busy, the oldest request is cut off, so that the kubelet's probe
gets through however many slow clients there are.
"""

import contextlib
import errno
import gzip
import json
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import psutil
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import KuberCronError, SettingsError
from kuber_cron.common.observability.health import Health

log = structlog.get_logger(__name__)

MAX_REQUESTS = 16
REQUEST_SECONDS = 10.0
_IDLE_SECONDS = 5.0  # without a byte from or to the client
_POLL_SECONDS = 0.25  # how late a request is cut off, and how long a stop takes, at most
_ACCEPT_RETRY_SECONDS = 0.2
_GZIP_LEVEL = 4  # a quarter of the time of 9 for nearly its size


class PortInUseError(KuberCronError):
    """The port for metrics and health is taken."""

    code = "port-in-use"


def start(registry: CollectorRegistry, host: str, port: int, health: Health) -> "TelemetryServer":
    """Return the server, already listening; ``port`` 0 takes any free one, which is logged.

    Args:
        registry: The metrics of ``/metrics``.
        host: The address to bind; ``""`` for all, IPv4 and IPv6.
        port: The port.
        health: The reports of ``/livez`` and ``/readyz``.

    Raises:
        PortInUseError: Another process listens there.
        SettingsError: The address is none of this machine's, or the port is not permitted.
    """
    server = TelemetryServer(_listen(host, port), registry, health)
    log.info("telemetry is served", host=host or "*", port=server.port)
    return server


class TelemetryServer(ThreadingHTTPServer):
    """The library's server, with a bound on the number and the age of its requests. Serves until :meth:`stop`."""

    def __init__(self, listener: socket.socket, registry: CollectorRegistry, health: Health) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.port: int = listener.getsockname()[1]
        self.registry = registry
        self.health = health
        self.rendering = threading.Lock()  # one scrape at a time: two would only halve each other's speed
        self._clock = SystemClock()
        self._started_at: dict[socket.socket, float] = {}  # the open requests by age: dicts keep their order
        self._threads = 0  # those of open requests, and of requests cut off that have not ended yet
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name="telemetry", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening, and cut off open requests. Idempotent."""
        self._stopping.set()
        self.shutdown()
        self._thread.join()
        self.socket.close()
        with self._changing:
            for request in self._started_at:
                _cut_off(request)

    # --- what the library calls -----------------------------------------------------------------

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a request; pause where the system has no descriptor left, or the library would ask again at once."""
        try:
            return super().get_request()
        except (BlockingIOError, ConnectionAbortedError):
            raise
        except OSError as error:
            log.warning("accepting a telemetry request failed", error=str(error))
            self._stopping.wait(_ACCEPT_RETRY_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the request in a thread of its own; where too many are open, cut off the oldest."""
        with self._changing:
            if self._threads >= 2 * MAX_REQUESTS:  # those cut off have not even noticed yet
                request.close()
                return
            if len(self._started_at) >= MAX_REQUESTS:
                oldest = next(iter(self._started_at))
                del self._started_at[oldest]
                _cut_off(oldest)
            self._started_at[request] = self._clock.elapsed()
            self._threads += 1
        try:
            threading.Thread(
                target=self.process_request_thread,
                args=(request, client_address),
                name="telemetry-request",
                daemon=True,
            ).start()
        except RuntimeError as error:  # the system has no thread left
            log.warning("serving a telemetry request failed", error=str(error))
            self.shutdown_request(request)
            self._stopping.wait(_ACCEPT_RETRY_SECONDS)

    def shutdown_request(self, request: Any) -> None:
        """Close the request."""
        with self._changing:
            self._started_at.pop(request, None)
            self._threads -= 1
            super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off requests that are too old; called at each poll."""
        now = self._clock.elapsed()
        with self._changing:
            for request, started_at in self._started_at.items():
                if now - started_at >= REQUEST_SECONDS:
                    _cut_off(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        """Log a fault of ours; that a client went away, or was cut off, is none."""
        error = sys.exception()
        if not isinstance(error, OSError | ValueError):
            log.error("serving a telemetry request failed", exc_info=error)


def _cut_off(request: socket.socket) -> None:
    """Shut the connection down; the thread that serves it notices."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Serves one GET or HEAD, and closes."""

    server: TelemetryServer
    server_version = "kuber-cron"
    sys_version = ""
    timeout = _IDLE_SECONDS

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
        registry = self.server.registry
        try:
            with self.server.rendering:
                body = encode(registry.restricted_registry(names) if names else registry)
        except Exception:
            log.exception("collecting a metric failed")
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
        """Log nothing: Prometheus and the kubelet ask every few seconds."""


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
    """Return `` by process 4711 (python)`` where the system tells us, else nothing."""
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
