"""A deadline for a whole HTTP request of urllib3, whose own time-outs are for each single read.

One byte a second keeps a request alive for as long as its sender likes. So a clock of its own shuts the request's socket
down when the time is over, and whatever reads from it ends.

A name lookup has no socket yet: it is not bounded.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any


class RequestDeadline:
    """The deadline of the requests of one client, one at a time."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long a request may take, from its beginning to the last byte of its answer."""
        self._seconds = seconds
        self._changing = threading.Lock()
        # Of the connection that is in use; replaced when it is made anew.
        self._sockets: list[socket.socket] = []
        self._request: object | None = None  # the one that the clock runs for
        self._is_over = False

    def watch(self, manager: Any) -> None:
        """Let the sockets of all connections that the manager will make be known here."""
        manager.pool_classes_by_scheme = {
            scheme: _watched(pool, self._opened) for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the clock during the block, which makes one request.

        Raises:
            TimeoutError: The time was over before the block was; what it raised or returned is of no use.
        """
        request = object()
        with self._changing:
            self._request, self._is_over = request, False
        clock = threading.Timer(self._seconds, self._cut, [request])
        clock.daemon = True
        clock.start()
        try:
            yield
        except Exception as error:
            if self._is_over:
                raise TimeoutError(f"cut off after {self._seconds:g} s") from error
            raise
        finally:
            clock.cancel()
            with self._changing:
                self._request = None
        if self._is_over:
            raise TimeoutError(f"cut off after {self._seconds:g} s")

    def _opened(self, sock: socket.socket, *, is_new: bool) -> None:
        with self._changing:
            if is_new:
                self._sockets.clear()
            self._sockets.append(sock)
            if self._is_over:
                _shut(sock)

    def _cut(self, request: object) -> None:
        with self._changing:
            if self._request is not request:
                return
            self._is_over = True
            for sock in self._sockets:
                _shut(sock)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was never connected, is closed, or has become a TLS socket's
        sock.shutdown(socket.SHUT_RDWR)


def _watched(pool: Any, opened: Any) -> Any:
    """Return the class of pools with connections that report their sockets: as soon as one is there, and as it is used."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc] # whatever the scheme and a proxy need
        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            opened(made, is_new=True)
            return made

        def connect(self) -> None:
            super().connect()
            opened(self.sock, is_new=False)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
