"""A receiver of notifications: a real HTTP server in threads of the test's process, which behaves as it is told."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """``answers`` are given in turn, 200 after the last: a status, a status with headers, ``drop`` or ``hang``."""

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    always: Any = 200
    let_go: threading.Event = field(default_factory=threading.Event)

    def kinds(self) -> list[str]:
        return [one.json["kind"] for one in self.received]

    def paths(self) -> list[str]:
        return [one.path.partition("?")[0] for one in self.received]


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a port of its own, until the block ends."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.received.append(Received(self.path, dict(self.headers), body))
            answer = made.answers.pop(0) if made.answers else made.always
            if answer == "hang":
                made.let_go.wait(30)
            if answer in ("hang", "drop"):
                self.close_connection = True
                return
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def do_GET(self) -> None:  # what a followed redirect would become
            made.received.append(Received("GET " + self.path, {}, b"{}"))
            self.send_error(404)

        def log_message(self, *_args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.let_go.set()
            server.shutdown()
