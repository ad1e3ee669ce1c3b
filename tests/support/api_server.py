"""A double of the API server's Lease API, with faults: an HTTP server in this process, real sockets and all.

    with ApiServer() as api:
        api.kubeconfig(tmp_path / "kubeconfig")     # for KUBECONFIG, or kube.connect
        api.inject("hang", count=2)                 # the next two requests
        api.inject("error", during=12.0, status=503)
        api.lease("kuber-cron")                     # the object as stored, or None
        api.edit("kuber-cron", leaseTransitions=7)  # as `kubectl edit` does
        api.delete("kuber-cron")
        api.stop(); api.start()                     # on the same port, with the same Leases

It answers as the real one where electors can tell: 404, 409 for a stale resourceVersion and for a second
creation, 422 for a duration of 0, 400 for times without six digits of fraction and for transitions of 2^31 and
more, 401 and 403. tests/integration/test_election_contract.py holds it to the real one. Everything here may be
called from any thread.
"""

import contextlib
import copy
import json
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Kind = Literal[
    "hang",  # taken and never answered; the connection is closed after `seconds`
    "drop",  # the connection is closed, nothing is written
    "commit_then_hang",  # written, then never answered
    "commit_then_drop",  # written, then the connection is closed
    "delay",  # everything happens `seconds` later
    "late_answer",  # written at once, answered `seconds` later
    "error",  # `status`, 503 by default
    "throttle",  # 429
    "conflict",  # 409
    "unauthorized",  # 401
    "forbidden",  # 403
    "garbage",  # 200 with a page that is no JSON, as a broken proxy sends
    "other",  # 200 with `document`
    "flood",  # 200 with a JSON text of four mebibytes
    "trickle",  # done at once, answered a byte each tenth of a second, from the status line on
]
NAMESPACE = "default"
_PATH = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)/leases(?:/([^/]+))?")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_TRICKLE_SECONDS = 0.1
_STATUS = {"error": 503, "throttle": 429, "conflict": 409, "unauthorized": 401, "forbidden": 403}


@dataclass(frozen=True)
class Request:
    """One request that was taken; ``status`` 0 where no answer was sent."""

    at: float
    method: str
    path: str
    token: str
    status: int
    fault: str


@dataclass(frozen=True)
class Write:
    """One change of a Lease, in order: what a checker needs to know of who held it."""

    at: float
    name: str
    holder: str
    transitions: int


@dataclass
class _Fault:
    kind: Kind
    left: int | None
    until: float | None
    seconds: float
    status: int
    methods: Collection[str]
    token: str | None
    document: Any

    def strikes(self, method: str, token: str, now: float) -> bool:
        return (
            (self.left is None or self.left > 0)
            and (self.until is None or now < self.until)
            and (not self.methods or method in self.methods)
            and (self.token is None or token == self.token)
        )


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class ApiServer:
    """Serves from entering the block to leaving it."""

    def __init__(self, *, tokens: Collection[str] | None = None) -> None:
        """``tokens``: the bearer tokens that are accepted; None accepts everybody."""
        self.tokens = None if tokens is None else set(tokens)
        self.requests: list[Request] = []
        self.writes: list[Write] = []
        self.faults: Counter[str] = Counter()
        self._faults: list[_Fault] = []
        self._leases: dict[tuple[str, str], dict[str, Any]] = {}
        self._version = 1000
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._port = 0
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._ending = threading.Event()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="apiserver", daemon=True
        ).start()

    def stop(self) -> None:
        """Nobody listens any more and every connection is cut; the Leases are kept. Idempotent."""
        server, self._server = self._server, None
        self._ending.set()
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut()

    @property
    def url(self) -> str:
        """Where it listens, or did before ``stop``."""
        return f"http://127.0.0.1:{self._port}"

    def kubeconfig(self, path: Path, *, url: str = "", token: str = "", namespace: str = NAMESPACE) -> Path:
        """Write a kubeconfig for this server, or for ``url`` (a proxy in front of it); its path."""
        path.write_text(
            json.dumps(  # which is YAML
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "double",
                    "clusters": [{"name": "double", "cluster": {"server": url or self.url}}],
                    "users": [{"name": "double", "user": {"token": token} if token else {}}],
                    "contexts": [
                        {
                            "name": "double",
                            "context": {"cluster": "double", "user": "double", "namespace": namespace},
                        }
                    ],
                }
            ),
            encoding="utf-8",
        )
        return path

    # --- faults ----------------------------------------------------------------------------------

    def inject(
        self,
        kind: Kind,
        *,
        count: int | None = None,
        during: float | None = None,
        seconds: float = 60.0,
        status: int = 0,
        methods: Collection[str] = (),
        token: str | None = None,
        document: Any = None,
    ) -> None:
        """Let requests fail: the next ``count``, or all within ``during`` seconds, or all until ``clear``.

        Args:
            kind: What happens.
            count: How many requests it strikes.
            during: For how long it strikes.
            seconds: How long a hang or a delay lasts.
            status: For ``error``: 503 if not given.
            methods: Only these, ``("PUT",)``; all if empty.
            token: Only requests with this bearer token: one replica of several.
            document: For ``other``: the answer.
        """
        until = None if during is None else time.monotonic() + during
        with self._lock:
            self._faults.append(
                _Fault(kind, count, until, seconds, status or _STATUS.get(kind, 0), methods, token, document)
            )

    def clear(self) -> None:
        """No faults any more; what hangs is let go without an answer."""
        with self._lock:
            self._faults.clear()
        ending, self._ending = self._ending, threading.Event()
        ending.set()

    # --- the Leases, as their owner with kubectl -------------------------------------------------

    def lease(self, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        """The object as stored."""
        with self._lock:
            return copy.deepcopy(self._leases.get((namespace, name)))

    def spec(self, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """The object's spec; empty where there is no object."""
        return (self.lease(name, namespace) or {}).get("spec", {})

    def holder(self, name: str, namespace: str = NAMESPACE) -> str:
        """Who holds the Lease; empty for nobody."""
        return self.spec(name, namespace).get("holderIdentity") or ""

    def edit(self, name: str, namespace: str = NAMESPACE, **spec: Any) -> None:
        """Change fields of the spec by hand, or make the Lease with them."""
        with self._lock:
            stored = copy.deepcopy(self._leases.get((namespace, name)))
            changed = stored or {"metadata": {"name": name}, "spec": {}}
            changed["spec"] = {**changed["spec"], **spec}
            if stored is None:
                self._create(namespace, changed)
            else:
                self._replace(namespace, name, changed)

    def delete(self, name: str, namespace: str = NAMESPACE) -> bool:
        """Delete the Lease; whether there was one."""
        with self._lock:
            return self._leases.pop((namespace, name), None) is not None

    # --- requests --------------------------------------------------------------------------------

    def handle(self, method: str, path: str, token: str, body: bytes) -> tuple[int, bytes, float] | None:
        """The answer to one request: status, body, the pause before each byte; None closes the connection without one."""
        began, ending = time.monotonic(), self._ending
        fault = self._struck(method, token)
        kind: str = "" if fault is None else fault.kind
        answer: tuple[int, bytes] | None = None
        if fault is not None and kind in {"hang", "drop"}:
            if kind == "hang":
                ending.wait(fault.seconds)
        elif fault is not None and kind in _STATUS:
            answer = fault.status, _status(fault.status, "Injected", f"injected: {kind}")
        elif kind == "garbage":
            answer = 200, b"<html>bad gateway</html>"
        elif kind == "flood":
            answer = 200, b'"' + b"x" * (4 << 20) + b'"'
        elif fault is not None and kind == "other":
            answer = 200, json.dumps(fault.document).encode()
        else:
            if fault is not None and kind == "delay":
                ending.wait(fault.seconds)
            answer = self._answer(method, path, token, body)
            if fault is not None and kind in {"commit_then_hang", "late_answer"}:
                ending.wait(fault.seconds)
            if kind.startswith("commit_then"):
                answer = None
        with self._lock:
            self.requests.append(Request(began, method, path, token, answer[0] if answer else 0, kind))
        return None if answer is None else (*answer, _TRICKLE_SECONDS if kind == "trickle" else 0.0)

    def is_ending(self, seconds: float) -> bool:
        """Wait so long, less where the faults end. For the handler."""
        return self._ending.wait(seconds)

    def _struck(self, method: str, token: str) -> _Fault | None:
        now = time.monotonic()
        with self._lock:
            for fault in self._faults:
                if fault.strikes(method, token, now):
                    if fault.left is not None:
                        fault.left -= 1
                    self.faults[fault.kind] += 1
                    return fault
        return None

    def _answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        try:
            namespace, name = self._admitted(path, token)
            with self._lock:
                status, document = self._serve(method, namespace, name, body)
                return status, json.dumps(document).encode()
        except _RefusedError as refused:
            return refused.status, _status(refused.status, refused.reason, refused.message)

    def _admitted(self, path: str, token: str) -> tuple[str, str | None]:
        if self.tokens is not None and token not in self.tokens:
            raise _RefusedError(401, "Unauthorized", "Unauthorized")
        found = _PATH.fullmatch(urlsplit(path).path)
        if found is None:
            raise _RefusedError(404, "NotFound", "the server could not find the requested resource")
        return found[1], found[2]

    def _serve(
        self, method: str, namespace: str, name: str | None, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if name is None:
            if method == "POST":
                return 201, self._create(namespace, _decoded(body))
            if method == "GET":
                items = [lease for (where, _), lease in self._leases.items() if where == namespace]
                return 200, {"apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList", "items": items}
        elif method == "PUT":
            return 200, self._replace(namespace, name, _decoded(body))
        elif method in {"GET", "DELETE"}:
            stored = self._stored(namespace, name)
            if method == "DELETE":
                del self._leases[namespace, name]
            return 200, stored
        raise _RefusedError(405, "MethodNotAllowed", f"the double does not know {method} here")

    def _stored(self, namespace: str, name: str) -> dict[str, Any]:
        try:
            return self._leases[namespace, name]
        except KeyError:
            message = f'leases.coordination.k8s.io "{name}" not found'
            raise _RefusedError(404, "NotFound", message) from None

    def _create(self, namespace: str, given: dict[str, Any]) -> dict[str, Any]:
        name = given["metadata"]["name"]
        if (namespace, name) in self._leases:
            message = f'leases.coordination.k8s.io "{name}" already exists'
            raise _RefusedError(409, "AlreadyExists", message)
        if given["metadata"].get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise _RefusedError(500, "InternalError", message)
        meta = {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self._store(namespace, name, given, meta)

    def _replace(self, namespace: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        sent = given["metadata"].get("resourceVersion")
        if not sent:
            message = f'Lease "{name}" is invalid: metadata.resourceVersion: must be specified for an update'
            raise _RefusedError(422, "Invalid", message)
        meta = self._stored(namespace, name)["metadata"]
        if given["metadata"].get("uid", meta["uid"]) != meta["uid"] or sent != meta["resourceVersion"]:
            message = f'Operation cannot be fulfilled on leases "{name}": the object has been modified'
            raise _RefusedError(409, "Conflict", message)
        kept = {"uid": meta["uid"], "creationTimestamp": meta["creationTimestamp"]}
        return self._store(namespace, name, given, kept)

    def _store(
        self, namespace: str, name: str, given: dict[str, Any], meta: dict[str, str]
    ) -> dict[str, Any]:
        spec = given.get("spec") or {}
        _validate(name, spec)
        self._version += 1
        stored = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                **given["metadata"],
                **meta,
                "namespace": namespace,
                "resourceVersion": str(self._version),
            },
            "spec": {field: value for field, value in spec.items() if value is not None},
        }
        self._leases[namespace, name] = stored
        self.writes.append(
            Write(time.monotonic(), name, spec.get("holderIdentity") or "", spec.get("leaseTransitions") or 0)
        )
        return stored


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        raise _RefusedError(400, "BadRequest", "the body is no JSON") from None
    spec = given.get("spec") or {}
    for field in ("acquireTime", "renewTime"):
        value = spec.get(field)
        if value is not None and not _MICRO_TIME.fullmatch(value):
            raise _RefusedError(400, "BadRequest", f"parsing time {value!r} as RFC3339Micro")
    for field in ("leaseTransitions", "leaseDurationSeconds"):
        value = spec.get(field)
        if value is not None and (not isinstance(value, int) or not -(2**31) <= value < 2**31):
            raise _RefusedError(
                400, "BadRequest", f"cannot unmarshal {value!r} into spec.{field} of type int32"
            )
    return given


def _validate(name: str, spec: dict[str, Any]) -> None:
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        message = f'Lease "{name}" is invalid: spec.leaseDurationSeconds: must be greater than 0'
        raise _RefusedError(422, "Invalid", message)
    if transitions is not None and transitions < 0:
        message = f'Lease "{name}" is invalid: spec.leaseTransitions: must be greater than or equal to 0'
        raise _RefusedError(422, "Invalid", message)


def _status(code: int, reason: str, message: str) -> bytes:
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
    ).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], api: ApiServer) -> None:
        self.api = api
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changing:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changing:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        with self._changing:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("bearer ")
        answer = self.server.api.handle(self.command, self.path, token, body)
        if answer is None:
            self.close_connection = True
            return
        status, document, pause = answer
        if pause:
            self._trickle(document, pause)
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def _trickle(self, document: bytes, pause: float) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(document)
        for byte in head + document:
            if self.server.api.is_ending(pause):
                break
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing: ``requests`` has them."""
