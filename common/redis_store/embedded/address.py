"""Where clients find the server of one machine: a Unix socket if one is possible, else loopback and a password."""

import os
import secrets
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

SOCKET_NAME = "redis.sock"
# A server with cluster-enabled takes the port 10,000 above its own too, and refuses to start where there is none.
_HIGHEST_PORT = 55_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where clients find the server: its configuration, its URL, and the private socket directory or ""."""

    config: dict[str, str] = field(repr=False)
    url: str = field(repr=False)
    sockets: str = ""


def find_address(directory: Path, listen: Literal["auto", "tcp"]) -> ServerAddress:
    """Return an address that works, tried out: in the data directory, in a private temporary one, or on loopback.

    The caller holds the directory's locks, because a socket left there by a crash is removed.
    """
    if listen == "auto":
        if _takes_socket(directory):
            return _on_socket(directory)
        private = Path(tempfile.mkdtemp(prefix="kuber-cron-"))
        if _takes_socket(private):
            return _on_socket(private, sockets=str(private))
        private.rmdir()
    password = secrets.token_urlsafe(24)
    port = _free_port()
    return ServerAddress(
        config={"port": str(port), "bind": "127.0.0.1", "requirepass": password},
        url=f"redis://:{password}@127.0.0.1:{port}/0",
    )


def _on_socket(directory: Path, sockets: str = "") -> ServerAddress:
    path = str(directory / SOCKET_NAME)
    return ServerAddress(
        config={"port": "0", "unixsocket": path, "unixsocketperm": "700"},
        url=f"unix://{quote(path)}?db=0",
        sockets=sockets,
    )


def _takes_socket(directory: Path) -> bool:
    """Return True where a socket can be bound: tried, because length limits and file systems differ."""
    path = directory / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            path.unlink(missing_ok=True)  # ours: both locks are held
            probe.bind(os.fsencode(path))
            path.unlink()
        except OSError:
            return False
    return True


def _free_port() -> int:
    """Return a port that was free a moment ago; if somebody takes it meanwhile, the server's last words say so."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= _HIGHEST_PORT:
            return port
